"""A metric on every slice of the data, and the worst slice judged with the number of slices in mind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tiku.core.errors import DataError
from tiku.core.measured import Measured
from tiku.core.metric import Direction
from tiku.measure.stats._checks import IntArray, as_binary, as_codes, check_level, check_positive, same_length
from tiku.measure.stats.proportions import wilson

__all__ = ["Slice", "SliceReport", "slice_accuracy", "slice_metric"]

Measure = Callable[[IntArray, float], Measured]


@dataclass(frozen=True)
class Slice:
    """One slice: its interval alone, and its interval when all slices are read together."""

    name: Any
    measured: Measured
    simultaneous: Measured


@dataclass(frozen=True)
class SliceReport:
    """Slices with enough items, worst first; those too small (name, items); the worst value overall.

    `worst` is None when no slice is large enough. Its value is that of the worst-looking slice; its
    interval bounds the true worst of all slices, which a lucky pick of one slice does not escape.
    """

    slices: tuple[Slice, ...]
    too_small: tuple[tuple[Any, int], ...]
    worst: Measured | None


def slice_metric(
    measure: Measure,
    names: ArrayLike,
    *,
    direction: Direction = "higher",
    min_size: int = 50,
    level: float = 0.95,
) -> SliceReport:
    """`measure(indices, level)` on each slice with `min_size` items or more.

    `names` (n,): the slice of each item. The simultaneous intervals have level 1 - (1 - level) / slices
    (Bonferroni). If all of them hold, the least (or greatest) true value lies between the least (or
    greatest) of the lower and of the upper ends, whichever slice it belongs to.
    """
    alpha = check_level(level)
    check_positive(min_size, "min_size")
    labels, (codes,) = as_codes(names, names=("slices",))
    order = np.argsort(codes, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    sized = [(name, part) for name, part in zip(labels.tolist(), parts, strict=True) if part.size >= min_size]
    small = tuple(
        (name, part.size) for name, part in zip(labels.tolist(), parts, strict=True) if part.size < min_size
    )
    if not sized:
        return SliceReport((), small, None)
    joint = 1 - alpha / len(sized)
    found = [Slice(name, measure(part, level), measure(part, joint)) for name, part in sized]
    found.sort(key=lambda one: one.measured.value, reverse=direction == "lower")
    return SliceReport(tuple(found), small, _worst(found, direction))


def _worst(found: list[Slice], direction: Direction) -> Measured:
    pick = min if direction == "higher" else max
    first = found[0].simultaneous
    bounded = [one.simultaneous for one in found]
    lows, highs = [m.low for m in bounded], [m.high for m in bounded]
    name = f"worst of {len(found)} slices, Bonferroni, {first.estimator}"
    if any(low is None for low in lows):
        return replace(first, low=None, high=None, estimator=f"{name}: a slice has no interval")
    low, high = pick(x for x in lows if x is not None), pick(x for x in highs if x is not None)
    return replace(first, low=low, high=high, estimator=name)


def slice_accuracy(
    correct: ArrayLike, names: ArrayLike, *, min_size: int = 50, level: float = 0.95
) -> SliceReport:
    """Accuracy per slice (Wilson). `correct` (n,) 0/1, `names` (n,)."""
    truth, slices = as_binary(correct, "correct"), np.asarray(names)
    if slices.ndim != 1:
        raise DataError(
            "slices must have one dimension",
            got=f"shape {slices.shape}",
            allowed="shape (n,)",
            next_step="pass one name per item",
        )
    same_length({"correct": truth, "slices": slices})

    def measure(part: IntArray, at: float) -> Measured:
        return wilson(int(truth[part].sum()), part.size, level=at)

    return slice_metric(measure, slices, min_size=min_size, level=level)
