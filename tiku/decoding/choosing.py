"""Which token follows: greedy or sampled, alone or after tokens that a drafter proposed.

Shape letters: V vocabulary, K drafted tokens, S = K + 1 positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tiku.core.errors import BadInput

__all__ = ["Chooser", "Draft", "Greedy", "Sampler", "Sampling", "accept", "distribution", "draw"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Draft:
    """Proposed tokens. `chances_KV` holds the distributions they were drawn from; None: the drafter
    was certain of each (a look-up, or a greedy model)."""

    tokens: tuple[int, ...] = ()
    chances_KV: Sequence[Floats] | None = None


class Chooser(Protocol):
    """Decides over one request; a new one for each request."""

    def choose(self, logits_SV: NDArray[np.float32], draft: Draft) -> tuple[int, ...]:
        """The drafted tokens that stand, and one more token: 1 to S tokens."""
        ...


class Greedy:
    """Always the likeliest token; of equal ones the first."""

    def choose(self, logits_SV: NDArray[np.float32], draft: Draft) -> tuple[int, ...]:
        """Drafted tokens stand while they are what greedy decoding would have chosen."""
        best_S = [int(token) for token in logits_SV.argmax(axis=-1)]
        kept = 0
        while kept < len(draft.tokens) and draft.tokens[kept] == best_S[kept]:
            kept += 1
        return tuple(best_S[: kept + 1])


@dataclass(frozen=True)
class Sampling:
    """`temperature` divides the logits; `top_k` keeps the likeliest k tokens (ties with the k-th
    included); `top_p` keeps the smallest set of likeliest tokens that holds that much probability."""

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _require(0 < self.temperature < float("inf"), "temperature", self.temperature, "above 0")
        _require(self.top_k is None or self.top_k >= 1, "top_k", self.top_k, "1 or more")
        _require(self.top_p is None or 0 < self.top_p <= 1, "top_p", self.top_p, "above 0, up to 1")


def _require(holds: bool, name: str, got: object, allowed: str) -> None:
    if not holds:
        raise BadInput(
            f"{name} is out of range", got=got, allowed=allowed, next_step="for temperature 0 use Greedy"
        )


class Sampler:
    """Draws from the distribution that `sampling` shapes; the seed alone decides the draws."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._rng = np.random.default_rng(sampling.seed)

    def choose(self, logits_SV: NDArray[np.float32], draft: Draft) -> tuple[int, ...]:
        return accept(draft, (distribution(row, self._sampling) for row in logits_SV), self._rng)


def distribution(logits_V: NDArray[np.float32], sampling: Sampling) -> Floats:
    """Probabilities of the next token after temperature, then top-k, then top-p; shape (V,).

    Top-p is nucleus sampling (Holtzman et al. 2020).
    """
    scaled_V = logits_V.astype(np.float64) / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < scaled_V.size:
        least = np.partition(scaled_V, -sampling.top_k)[-sampling.top_k]
        scaled_V = np.where(scaled_V < least, -np.inf, scaled_V)
    p_V = np.exp(scaled_V - scaled_V.max())
    p_V /= p_V.sum()
    return p_V if sampling.top_p is None else _nucleus(p_V, sampling.top_p)


def _nucleus(p_V: Floats, top_p: float) -> Floats:
    order = np.argsort(-p_V, kind="stable")
    before = np.cumsum(p_V[order]) - p_V[order]  # probability of what is likelier
    kept_V = np.zeros_like(p_V)
    chosen = order[before < top_p]
    kept_V[chosen] = p_V[chosen]
    total: float = kept_V.sum()
    return kept_V / total


def accept(draft: Draft, targets: Iterator[Floats], rng: np.random.Generator) -> tuple[int, ...]:
    """The lossless rule of speculative sampling (Leviathan et al. 2023, algorithm 1).

    Token x, drawn from q, stands with probability min(1, p(x) / q(x)); the first that does not is
    replaced by a draw from max(p - q, 0). So every token is distributed as p, whatever q was.
    `targets` gives p_V for each of the K + 1 positions, and is read no further than needed.
    """
    for i, token in enumerate(draft.tokens):
        p_V = next(targets)
        q = 1.0 if draft.chances_KV is None else float(draft.chances_KV[i][token])
        if rng.random() * q >= p_V[token]:
            return (*draft.tokens[:i], draw(_residual(p_V, draft, i), rng))
    return (*draft.tokens, draw(next(targets), rng))


def _residual(p_V: Floats, draft: Draft, i: int) -> Floats:
    if draft.chances_KV is not None:
        return np.maximum(p_V - draft.chances_KV[i], 0.0)
    rest_V = p_V.copy()
    rest_V[draft.tokens[i]] = 0.0
    return rest_V


def draw(weights_V: Floats, rng: np.random.Generator) -> int:
    """A token in proportion to its weight; one with weight 0 is never drawn."""
    upto_V = np.cumsum(weights_V)
    at = int(np.searchsorted(upto_V, rng.random() * upto_V[-1], side="right"))
    return min(at, int(np.flatnonzero(weights_V)[-1]))  # rounding may land behind the last
