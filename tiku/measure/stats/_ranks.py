"""Scores in order: the one sort behind every statistic of ranks.

float32 scores become unsigned keys of the same order; the label sits in the lowest bit, so one
sort of plain integers carries it along. Where the keys span less than 31 bits (the empty gap
around zero taken out) they fit with the label into 32 bits, which sorts twice as fast as 64.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiku.measure.stats._checks import BoolArray, FloatArray, IntArray

__all__ = ["ItemOrder", "Ranked", "Tally", "item_order", "ranked"]

_SIGN = np.uint32(0x80000000)


@dataclass(frozen=True)
class Tally:
    """Positives and negatives at each distinct score, ascending; shape (D,) each."""

    positives: IntArray
    negatives: IntArray


@dataclass(frozen=True)
class Ranked:
    """Labels in ascending order of score, negatives first among equals.

    `label` (n,); `rises` (n-1,): whether the next item's score is greater.
    """

    label: BoolArray
    rises: BoolArray

    def tally(self) -> Tally:
        """Counts per distinct score."""
        ends = np.append(np.flatnonzero(self.rises), self.label.size - 1)
        seen = np.cumsum(self.label, dtype=np.int64)[ends]
        positives = np.diff(seen, prepend=0)
        return Tally(positives, np.diff(ends, prepend=-1) - positives)

    def wins_doubled(self) -> int:
        """Twice the number of (positive, negative) pairs in order, a tie as half: an exact integer."""
        places = np.flatnonzero(self.label)
        count = int(places.size)
        wins = int(places.sum(dtype=np.int64)) - count * (count - 1) // 2
        return 2 * wins - self._tied_pairs()

    def _tied_pairs(self) -> int:
        """Pairs of a positive and a negative with one score: each stands where a run of negatives meets one
        of positives at that score."""
        mixed = ~self.rises & (self.label[1:] > self.label[:-1])
        meets = np.flatnonzero(mixed)
        if meets.size == 0:
            return 0
        ends = np.flatnonzero(self.rises | (self.label[1:] != self.label[:-1]))
        bounds = np.concatenate([[-1], ends, [self.label.size - 1]])
        at = np.searchsorted(ends, meets) + 1
        return int((bounds[at] - bounds[at - 1]) @ (bounds[at + 1] - bounds[at]))


def _fits_float32(scores: NDArray[Any]) -> NDArray[np.float32] | None:
    if scores.dtype == np.float32:
        return scores
    with np.errstate(over="ignore"):
        narrow = scores.astype(np.float32)
    return narrow if np.array_equal(narrow, scores) else None


def _ordered_keys(scores: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Unsigned keys of the same order; adding 0 makes -0.0 and 0.0 one key."""
    bits = (scores + np.float32(0)).view(np.int32)
    flip: NDArray[np.uint32] = (bits >> 31).view(np.uint32)
    flip |= _SIGN
    flip ^= bits.view(np.uint32)
    return flip


def _keys_with_label(keys: NDArray[np.uint32], label: BoolArray) -> NDArray[Any]:
    least, most = int(keys.min()), int(keys.max())
    gap = 0
    if least < _SIGN <= most:
        turned = keys ^ _SIGN  # brings the smallest upper key to the bottom, the largest lower one to the top
        gap = int(turned.min()) + 2**32 - int(turned.max()) - 1
    if most - least - gap >= 2**31:
        return (keys.astype(np.uint64) << np.uint64(1)) | label
    shifted: NDArray[np.uint32] = keys - np.uint32(least)
    if gap:
        shifted -= (keys >= _SIGN).view(np.uint8) * np.uint32(gap)
    shifted <<= np.uint32(1)
    shifted |= label
    return shifted


def _ranked_float32(scores: NDArray[np.float32], label: BoolArray) -> Ranked:
    keys = _keys_with_label(_ordered_keys(scores), label)
    keys.sort()
    return Ranked((keys & keys.dtype.type(1)).astype(np.bool_), (keys[1:] ^ keys[:-1]) > 1)


def ranked(scores: NDArray[Any], label: BoolArray) -> Ranked:
    """Sort once. float64 scores that float32 cannot hold: each class by itself, then one linear merge."""
    narrow = _fits_float32(scores)
    if narrow is not None:
        return _ranked_float32(narrow, label)
    below, above = np.sort(scores[~label]), np.sort(scores[label])
    runs = np.concatenate([below, above])
    order = np.argsort(runs, kind="stable")  # two sorted runs: timsort merges them in one pass
    merged = runs[order]
    return Ranked(order >= below.size, merged[1:] > merged[:-1])


@dataclass(frozen=True)
class ItemOrder:
    """The ascending order of items (n,) with the index of each one's distinct score (n,), in that order."""

    order: IntArray
    place: IntArray

    @cached_property
    def distinct(self) -> int:
        """How many distinct scores there are."""
        return int(self.place[-1]) + 1

    def totals(self, values: FloatArray) -> FloatArray:
        """Sum item values (n,) at each distinct score (D,)."""
        sums: FloatArray = np.bincount(self.place, values[self.order], self.distinct).astype(np.float64)
        return sums

    def spread(self, values: FloatArray) -> FloatArray:
        """Give each item (n,) the value of its distinct score (D,)."""
        items = np.empty(self.order.size, dtype=values.dtype)
        items[self.order] = values[self.place]
        return items


def item_order(scores: NDArray[Any]) -> ItemOrder:
    """Order that keeps each item's identity (for weights, groups, and several models)."""
    narrow = _fits_float32(scores)
    if narrow is not None and scores.size < 2**32:
        keyed = _ordered_keys(narrow).astype(np.uint64) << np.uint64(32)
        keyed |= np.arange(scores.size, dtype=np.uint64)
        keyed.sort()
        order = (keyed & np.uint64(0xFFFFFFFF)).astype(np.int64)
        rises = (keyed[1:] >> np.uint64(32)) != (keyed[:-1] >> np.uint64(32))
    else:
        order = np.argsort(scores)
        rises = scores[order[1:]] > scores[order[:-1]]
    return ItemOrder(order, np.concatenate([[0], np.cumsum(rises, dtype=np.int64)]))
