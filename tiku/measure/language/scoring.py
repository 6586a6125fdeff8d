"""Log-likelihoods of requests by the fastest way the session allows, checked against the plain way.

- "packed": a torch module takes many requests in one row (see `packing`) after one shared prefix,
  and computes its head on scored positions only;
- "cached": `Session.extend` encodes the shared prefix once, each context once, then the continuations;
- "plain": `Session.run` on whole sequences, padded on the right. The reference of the other two.

N requests, S tokens of all their continuations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tiku.core.errors import CannotMeasure
from tiku.core.method import Progress, silent
from tiku.core.subject import Session
from tiku.measure.language import session_scoring, torch_scoring
from tiku.measure.language.requests import Request
from tiku.measure.language.session_scoring import TokenScores

__all__ = ["AGREEMENT", "Path", "Scores", "score"]

Path = Literal["packed", "cached", "plain"]

AGREEMENT = 1e-2  # nats per token; a faster way that strays further from the plain one is not used


@dataclass(frozen=True, eq=False)
class Scores:
    """Log-probabilities in nats of the continuations' tokens, request after request.

    `noise_floor` is the largest difference in nats that batching made to the sum of one of the
    `probes` requests, which were also scored the plain way, one at a time. `fallbacks`: faster ways
    not used, and why.
    """

    token_nats_S: NDArray[np.float64]
    token_greedy_S: NDArray[np.bool_]
    lengths_N: NDArray[np.int64]
    path: Path
    noise_floor: float
    probes: int
    fallbacks: tuple[str, ...] = ()

    @cached_property
    def log_likelihoods(self) -> NDArray[np.float64]:
        """Sum over each continuation, shape (N,)."""
        return _per_request(np.add, self.token_nats_S, self.lengths_N)

    @cached_property
    def greedy(self) -> NDArray[np.bool_]:
        """Whether every token of the continuation was the most likely one, shape (N,)."""
        return _per_request(np.logical_and, self.token_greedy_S, self.lengths_N)


def score(
    session: Session,
    requests: Sequence[Request],
    *,
    pad: int = 0,
    tokens_per_pass: int = 256,
    path: Path | None = None,
    probes: int = 2,
    progress: Progress = silent,
) -> Scores:
    """Score every request. `path` None takes the fastest way that agrees with the plain one on the
    probes (at least one). `pad` is any valid token id.

    Raises `CannotMeasure` when logits are not finite, or the asked path is not to be had.
    """
    lengths = np.array([len(r.continuation) for r in requests], dtype=np.int64)
    if not requests:
        return Scores(np.zeros(0), np.zeros(0, dtype=np.bool_), lengths, path or "plain", 0.0, 0)
    probed = _probes(requests, max(1, probes))
    at = np.isin(np.repeat(np.arange(len(requests)), lengths), probed)
    reference, _ = session_scoring.plain(session, [requests[i] for i in probed], pad, 0, silent)
    fallbacks: list[str] = []
    for name in (path,) if path else get_args(Path):
        found = _try(name, session, requests, pad, tokens_per_pass, progress)
        if isinstance(found, str):
            fallbacks.append(f"{name}: {found}")
            continue
        nats, greedy = found
        away = nats[at] - reference
        if np.isfinite(nats).all() and (name == "plain" or np.abs(away).max() <= AGREEMENT):
            noise = float(np.abs(_per_request(np.add, away, lengths[probed])).max())
            return Scores(nats, greedy, lengths, name, noise, len(probed), tuple(fallbacks))
        fallbacks.append(f"{name}: {_distrust(nats, away)}")
    raise CannotMeasure(
        "the log-likelihoods cannot be computed",
        got="; ".join(fallbacks),
        allowed="finite logits, by a way that agrees with the plain one",
        next_step="use fp32 or an earlier checkpoint where logits are not finite",
    )


def _try(
    name: str,
    session: Session,
    requests: Sequence[Request],
    pad: int,
    tokens_per_pass: int,
    progress: Progress,
) -> TokenScores | str:
    """The scores, or why this way cannot be gone."""
    if name == "plain":
        return session_scoring.plain(session, requests, pad, tokens_per_pass, progress)
    if name == "cached":
        return session_scoring.cached(session, requests, progress)
    return torch_scoring.packed(session, requests, tokens_per_pass, progress)


def _distrust(nats: NDArray[np.float64], away: NDArray[np.float64]) -> str:
    odd = int((~np.isfinite(nats)).sum())
    if odd:
        return f"{odd} of {nats.size} log-probabilities are not finite"
    return f"differs from the plain way by {np.abs(away).max():.2g} nats per token"


def _probes(requests: Sequence[Request], count: int) -> list[int]:
    """Positions to check, evenly over the order of packing but never its first: what leaks from one
    request into another in a row is seen only in those that others precede."""
    order = sorted(range(len(requests)), key=lambda i: requests[i].sequence)
    places = np.linspace(min(1, len(order) - 1), len(order) - 1, min(count, len(order)))
    return sorted({order[int(place)] for place in places})


def _per_request(reduce: np.ufunc, values_S: NDArray[Any], lengths_N: NDArray[np.int64]) -> NDArray[Any]:
    if not len(lengths_N):
        return values_S
    starts = np.concatenate([[0], np.cumsum(lengths_N)[:-1]])
    reduced: NDArray[Any] = reduce.reduceat(values_S, starts)
    return reduced
