"""The calibration errors of two models on the same items."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from tiku.core.errors import DataError
from tiku.core.metric import Metric
from tiku.core.verdict import Comparison
from tiku.measure.stats._bins import BinMode, Bins, binned, draw_noise
from tiku.measure.stats._checks import (
    FloatArray,
    IntArray,
    as_binary,
    as_probabilities,
    check_level,
    group_codes,
    same_length,
)
from tiku.measure.stats._comparison import compared
from tiku.measure.stats._ece_inversion import Estimate, estimate
from tiku.measure.stats.power import detectable_effect

__all__ = ["compare_ece"]

Judged = tuple[ArrayLike, ArrayLike]  # confidence of the predicted class, whether it was right: (n,) each


def compare_ece(
    metric: Metric,
    base: Judged,
    candidate: Judged,
    groups: ArrayLike | None = None,
    *,
    bins: int = 15,
    mode: BinMode = "mass",
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Difference of two bias-corrected calibration errors (see `ece_interval`) on the same items.

    The interval joins their own two (MOVER: Zou and Donner 2008) with the correlation of the two errors.
    Where an error may be 0 its distance to 0 is no measure of its noise, so that side is the plain sum.
    Two models that hardly differ item by item cannot differ more in their error: that bounds the
    interval too, and makes identical outputs equivalent.
    """
    if metric.scale != "difference":
        raise DataError(
            "calibration errors are compared by difference",
            got=f"scale {metric.scale}",
            allowed="difference",
            next_step="use a metric of this scale",
        )
    sides = [_checked(*base), _checked(*candidate)]
    same_length({"base": sides[0][0], "candidate": sides[1][0]})
    codes, alpha = group_codes(groups, sides[0][0].size), check_level(level)
    first, second = (binned(p, y, bins, mode, codes) for p, y in sides)
    a, b = (estimate(model, codes, seed, alpha) for model in (first, second))
    low, high = _joined_bounds(a, b, _correlation(first, second, a, b, codes, seed))
    most = _largest_difference(sides, (first, second), codes, alpha)
    low, high = max(low, -most), min(high, most)
    detectable = detectable_effect((high - low) / (2 * float(-ndtri(alpha / 2))))
    test = "two ECE intervals joined (MOVER)" + ("" if codes is None else ", groups")
    return compared(metric, a.value, b.value, (low, high), detectable or None, test)


def _checked(confidence: ArrayLike, right: ArrayLike) -> tuple[FloatArray, FloatArray]:
    p, y = as_probabilities(confidence, "confidence"), as_binary(right, "right")
    same_length({"confidence": p, "right": y})
    return p, y.astype(np.float64)


def _correlation(
    first: Bins, second: Bins, a: Estimate, b: Estimate, groups: IntArray | None, seed: int
) -> float:
    """How the two plug-ins move together, at the errors estimated."""
    plug_ins = []
    for model, fit, noise in zip(
        (first, second), (a, b), draw_noise([first, second], groups, seed), strict=True
    ):
        pattern = model.likely
        size = float(model.weight @ np.abs(pattern))
        gaps = pattern * (fit.value / size) if size > 0 else pattern
        plug_ins.append(np.abs(gaps + noise) @ model.weight)
    return float(np.corrcoef(plug_ins[0], plug_ins[1])[0, 1])


def _joined_bounds(a: Estimate, b: Estimate, correlation: float) -> tuple[float, float]:
    effect = b.value - a.value
    low = effect - _joined(b.value - b.low, a.high - a.value, -1.0 if b.low == 0 else correlation)
    high = effect + _joined(b.high - b.value, a.value - a.low, -1.0 if a.low == 0 else correlation)
    return low, high


def _joined(x: float, y: float, correlation: float) -> float:
    return math.sqrt(max(0.0, x * x + y * y - 2 * correlation * x * y))


def _largest_difference(
    sides: list[tuple[FloatArray, FloatArray]],
    models: tuple[Bins, Bins],
    groups: IntArray | None,
    alpha: float,
) -> float:
    """Upper bound of the mean, over items, of what one can move the error by (triangle inequality):
    the change of its own gap, and twice its gap where it changes its bin."""
    (p, y), (q, x) = sides
    before, after = p - y, q - x
    moved = np.abs(after - before) + 2 * np.abs(after) * (models[0].place != models[1].place)
    away = moved - moved.mean()
    units = away if groups is None else np.bincount(groups, weights=away)
    error = (
        math.sqrt(float(units @ units) * units.size / (units.size - 1)) / p.size if units.size > 1 else 1.0
    )
    unseen = 1 - (alpha / 2) ** (1 / units.size)  # items unlike all of these may still be there
    most: float = float(moved.mean()) - float(ndtri(alpha / 2)) * error + unseen
    return most
