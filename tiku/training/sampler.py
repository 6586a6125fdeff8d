"""Batches as a pure function of (lengths, seed, epoch): like lengths together, the order random."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Sampler", "plan_epoch"]

_POOL_BATCHES = 32  # examples are sorted within so many batches: about 3 % padding, and random company


def plan_epoch(lengths: Sequence[int], batch_tokens: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Example positions grouped into batches; every position exactly once.

    A random order is cut into pools of some batches, each pool is sorted by length and cut where
    (members x longest) would pass `batch_tokens`; the batches are then shuffled. An example longer
    than the budget goes alone.
    """
    import numpy as np

    sizes = np.asarray(lengths, dtype=np.int64)
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(sizes))
    pool = max(1, int(_POOL_BATCHES * batch_tokens / sizes.mean()))
    batches: list[NDArray[np.int64]] = []
    for start in range(0, len(order), pool):
        members = order[start : start + pool]
        members = members[np.argsort(sizes[members], kind="stable")]
        batches += np.split(members, _cuts(sizes[members].tolist(), batch_tokens))
    return [batches[i] for i in rng.permutation(len(batches))]


def _cuts(ascending: Sequence[int], batch_tokens: int) -> list[int]:
    cuts: list[int] = []
    start = 0
    for i, length in enumerate(ascending):
        if i > start and (i - start + 1) * length > batch_tokens:
            cuts.append(i)
            start = i
    return cuts


class Sampler:
    """The batches of a whole run: `batch(step)` depends on (lengths, batch_tokens, seed, step) alone.

    Epochs are added until there are `epochs` of them and at least `min_steps` steps.
    """

    def __init__(
        self, lengths: Sequence[int], batch_tokens: int, *, epochs: int, min_steps: int, seed: int
    ) -> None:
        self._plan = lru_cache(maxsize=2)(lambda epoch: plan_epoch(lengths, batch_tokens, seed, epoch))
        steps: list[int] = []
        while len(steps) < epochs or sum(steps) < min_steps:
            steps.append(len(self._plan(len(steps))))
        self._ends = list(accumulate(steps))
        self.epochs = len(steps)
        self.steps = self._ends[-1]
        self.examples_per_step = len(lengths) * self.epochs / self.steps

    def batch(self, step: int) -> NDArray[np.int64]:
        """Positions of the examples of this step (0 … steps - 1)."""
        epoch = bisect_right(self._ends, step)
        first = self._ends[epoch - 1] if epoch else 0
        return self._plan(epoch)[step - first]
