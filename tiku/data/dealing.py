"""Dealing examples to splits: stratified by class, groups kept whole, deterministic in the seed.

The order of dealing comes from a hash of (seed, example), so a split does not depend on the order of
the rows or on a version of a random number generator.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["deal", "hash_order"]

_ROUNDING = 1e-9


def hash_order(keys: Sequence[str], seed: int) -> NDArray[np.int64]:
    """Positions in the pseudo-random order that seed and keys give."""
    salt = f"{seed}:".encode()
    codes = [hashlib.blake2b(salt + k.encode("utf-8", "surrogatepass"), digest_size=8).digest() for k in keys]
    return np.asarray(sorted(range(len(keys)), key=lambda i: (codes[i], i)), dtype=np.int64)


def deal(
    keys: Sequence[str],
    fractions: Sequence[float],
    *,
    seed: int,
    classes: NDArray[np.int64] | None = None,
    groups: Sequence[Hashable] | None = None,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.int64]:
    """The split (0 … S-1) of each of N examples.

    Shares follow `fractions` (they sum to 1) within each class and overall: each class's share is
    rounded down or up where examples stand alone, and kept as nearly as whole groups allow where they
    do not. `weights` replace counts (characters of a document).
    """
    n = len(keys)
    share = np.asarray(fractions, dtype=np.float64)
    kinds = np.zeros(n, dtype=np.int64) if classes is None else classes
    size = np.ones(n) if weights is None else weights
    order = hash_order(keys, seed)
    units = _units(order, groups)
    whole = [unit for unit in units if len(unit) > 1 or weights is not None]
    single = np.asarray([unit[0] for unit in units if len(unit) == 1 and weights is None], dtype=np.int64)
    totals = np.bincount(kinds, weights=size).astype(np.float64)
    assigned = np.zeros((len(share), len(totals)))
    split = np.full(n, -1, dtype=np.int64)
    _deal_groups(whole, kinds, size, share, totals, assigned, split)
    _deal_singles(single, kinds, share, totals, assigned, split)
    return split


def _units(order: NDArray[np.int64], groups: Sequence[Hashable] | None) -> list[list[int]]:
    """Positions that must stay together, in the dealing order."""
    if groups is None:
        return [[i] for i in order.tolist()]
    found: dict[Hashable, list[int]] = {}
    for i in order.tolist():
        found.setdefault(groups[i], []).append(i)
    return list(found.values())


def _deal_groups(
    units: Sequence[Sequence[int]],
    kinds: NDArray[np.int64],
    size: NDArray[np.float64],
    share: NDArray[np.float64],
    totals: NDArray[np.float64],
    assigned: NDArray[np.float64],
    split: NDArray[np.int64],
) -> None:
    """Large groups first, each to the split whose relative shortage of its classes it cuts the most.

    Groups of one size class (a factor of two) come in the order of the hash.
    """
    wanted = np.maximum(share[:, None] * totals, 1e-9)
    order = sorted(units, key=lambda unit: -math.floor(math.log2(size[list(unit)].sum())))
    closed = share <= 0
    for unit in order:
        at = list(unit)
        mass = np.bincount(kinds[at], weights=size[at], minlength=len(totals))
        present = mass > 0
        m, have, want = mass[present], assigned[:, present], wanted[:, present]
        cost = ((2 * (have - want) + m) * m / (want * totals[present])).sum(axis=1)
        cost[closed] = np.inf
        chosen = int(np.argmin(cost))
        assigned[chosen] += mass
        split[at] = chosen


def _deal_singles(
    single: NDArray[np.int64],
    kinds: NDArray[np.int64],
    share: NDArray[np.float64],
    totals: NDArray[np.float64],
    assigned: NDArray[np.float64],
    split: NDArray[np.int64],
) -> None:
    """Class by class, its share rounded down or up; who is rounded up is whoever the classes before
    left short, so that the totals come out too."""
    short = np.zeros(len(share))
    for kind in range(len(totals)):
        members = single[kinds[single] == kind]
        wish = share * totals[kind] - assigned[:, kind]
        take = _whole(wish, len(members), share, short)
        short = np.where(share > 0, short + wish - take, 0.0)
        split[members] = np.repeat(np.arange(len(share)), take)


def _whole(
    wish: NDArray[np.float64], n: int, share: NDArray[np.float64], short: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Non-negative whole numbers that sum to n: each wish rounded down or up where the sum allows it.

    A split that gets most of the data is served first: what it never sees, it cannot learn.
    """
    take = np.floor(np.maximum(wish, 0.0) + _ROUNDING).astype(np.int64)
    largest = int(np.argmax(share))
    if take.sum() < n and share[largest] > 0.5 and 0 < wish[largest] < 1:
        take[largest] = 1
    while take.sum() > n:
        take[int(np.argmax(np.where(take > 0, take - wish, -np.inf)))] -= 1
    while take.sum() < n:
        open_ = take < wish - _ROUNDING
        allowed = open_ if open_.any() else share > 0
        take[int(np.argmax(np.where(allowed, wish + short - take, -np.inf)))] += 1
    return take
