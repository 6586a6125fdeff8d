"""Log-likelihoods of requests by the fastest way the session allows, checked against the plain way.

- "packed": a torch module takes many requests in one row (see `packing`) after one shared prefix,
  and computes its head on scored positions only;
- "cached": `Session.extend` encodes the shared prefix once, each context once, then the continuations;
- "plain": `Session.run` on whole sequences, padded on the right. The reference of the other two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tiku.core.errors import CannotMeasure
from tiku.core.method import Progress, silent
from tiku.core.subject import Session
from tiku.measure.language import session_scoring, torch_scoring
from tiku.measure.language.requests import Request

__all__ = ["AGREEMENT", "Path", "Scores", "score"]

Path = Literal["packed", "cached", "plain"]

AGREEMENT = 1e-2  # nats per request; a faster way that strays further from the plain one is not used


@dataclass(frozen=True)
class Scores:
    """`log_likelihoods_N` in nats; `greedy_N`: every token was the most likely one.

    `noise_floor` is the largest difference in nats that batching made on the `probes` requests that
    were also scored the plain way, one at a time. `fallbacks`: faster ways not used, and why.
    """

    log_likelihoods_N: NDArray[np.float64]
    greedy_N: NDArray[np.bool_]
    path: Path
    noise_floor: float
    probes: int
    fallbacks: tuple[str, ...] = ()


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
    if not requests:
        return Scores(np.zeros(0), np.zeros(0, dtype=np.bool_), path or "plain", 0.0, 0)
    probed = _spread(len(requests), max(1, probes))
    reference, _ = session_scoring.plain(session, [requests[i] for i in probed], pad, 0, silent)
    fallbacks: list[str] = []
    for name in (path,) if path else get_args(Path):
        found = _try(name, session, requests, pad, tokens_per_pass, progress)
        if isinstance(found, str):
            fallbacks.append(f"{name}: {found}")
            continue
        values, greedy = found
        noise = float(np.abs(values[probed] - reference).max())
        if np.isfinite(values).all() and (name == "plain" or noise <= AGREEMENT):
            return Scores(values, greedy, name, noise, len(probed), tuple(fallbacks))
        fallbacks.append(f"{name}: {_distrust(values, noise)}")
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
) -> tuple[NDArray[np.float64], NDArray[np.bool_]] | str:
    """The scores, or why this way cannot be gone."""
    if name == "plain":
        return session_scoring.plain(session, requests, pad, tokens_per_pass, progress)
    if name == "cached":
        return session_scoring.cached(session, requests, progress)
    return torch_scoring.packed(session, requests, tokens_per_pass, progress)


def _distrust(values: NDArray[np.float64], noise: float) -> str:
    odd = int((~np.isfinite(values)).sum())
    if odd:
        return f"{odd} of {values.size} log-likelihoods are not finite"
    return f"differs from the plain way by {noise:.2g} nats"


def _spread(count: int, probes: int) -> list[int]:
    """Positions from first to last, evenly."""
    return sorted({int(i) for i in np.linspace(0, count - 1, min(probes, count))})
