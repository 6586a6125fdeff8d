"""Means and ratios of sums with intervals, for independent items or groups."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from tiku.core.errors import DataError
from tiku.core.measured import Measured
from tiku.measure.stats._checks import FloatArray, IntArray, as_floats, check_level, group_codes, same_length
from tiku.measure.stats._resample import (
    DEFAULT_REPLICATES,
    cluster_rows,
    collapse,
    ratio_of_totals,
    resampled_interval,
)

__all__ = ["mean_interval", "ratio_error", "ratio_interval"]


def t_quantile(degrees: float, alpha: float) -> float:
    """Two-sided Student quantile."""
    return float(stdtrit(degrees, 1 - alpha / 2))


def ratio_error(
    top: FloatArray, bottom: FloatArray, codes: IntArray | None = None
) -> tuple[float, float, int]:
    """Ratio of sums, its delta-method standard error, and its degrees of freedom.

    Units are items, or the groups of `codes` (Cochran 1977, 6.4). With a bottom of ones it is the mean
    and its usual (or cluster-robust) error.
    """
    ratio = float(top.sum() / bottom.sum())
    away = top - ratio * bottom
    if codes is not None:
        away = np.bincount(codes, weights=away).astype(np.float64)
    if away.size < 2:
        return ratio, math.nan, 0
    se = math.sqrt(float(away @ away) * away.size / (away.size - 1)) / abs(float(bottom.sum()))
    return ratio, se, away.size - 1


def ratio_interval(
    top: ArrayLike,
    bottom: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    unit: str = "1",
    level: float = 0.95,
) -> Measured:
    """`sum(top) / sum(bottom)` with a t interval by the delta method; inputs (n,), bottom positive.

    One unit alone gives no interval (low and high are None).
    """
    a, b = as_floats(top, "top"), as_floats(bottom, "bottom")
    same_length({"top": a, "bottom": b})
    if b.min() < 0 or b.sum() == 0:
        raise DataError(
            "the bottom of a ratio must not be negative, nor all zero",
            got=f"smallest {b.min():g}",
            allowed="0 or more",
            next_step="check the counts",
        )
    alpha = check_level(level)
    value, se, degrees = ratio_error(a, b, group_codes(groups, a.size))
    name = "ratio of sums, delta method, t" + ("" if groups is None else ", groups")
    if degrees == 0:
        return Measured(value, None, None, a.size, unit, "measured", "ratio of sums, one item")
    half = t_quantile(degrees, alpha) * se
    return Measured(value, value - half, value + half, a.size, unit, "measured", name)


def _linear_bounds(
    values: FloatArray, codes: IntArray | None, alpha: float, skewed: bool
) -> tuple[float, float, float]:
    """Mean and its bounds: Student's, or bent by the skewness as BCa would (ABC, a = z0 for a mean)."""
    value, se, degrees = ratio_error(values, np.ones(values.size), codes)
    t = t_quantile(degrees, alpha)
    if not skewed or se == 0:
        return value, value - t * se, value + t * se
    away = values - value
    if codes is not None:
        away = np.bincount(codes, weights=away).astype(np.float64)
    bend = float((away**3).sum()) / (6 * float(away @ away) ** 1.5)
    low, high = ((bend + x) / (1 - bend * (bend + x)) ** 2 * se for x in (-t, t))
    return value, value + low, value + high


def mean_interval(
    x: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    unit: str = "1",
    method: str = "t",
    level: float = 0.95,
    replicates: int | None = None,
    seed: int = 0,
) -> Measured:
    """Mean of `x` (n,) with a Student interval; for skewed values `method="abc"` or "bootstrap" (BCa).

    ABC (DiCiccio and Efron 1992) is the limit of BCa in closed form: no replicates, any n.

    With `groups` (n,) the error is cluster-robust, or whole groups are resampled. One item alone gives
    no interval.
    """
    values = as_floats(x, "values")
    if method not in ("t", "abc", "bootstrap"):
        raise DataError(
            "unknown method for a mean", got=method, allowed="t, abc, bootstrap", next_step="pass 't'"
        )
    if values.size == 1:
        return Measured(float(values[0]), None, None, 1, unit, "measured", "one value")
    alpha, codes = check_level(level), group_codes(groups, values.size)
    suffix = "" if codes is None else ", groups"
    if method == "bootstrap":
        rows = np.column_stack([values, np.ones(values.size)])
        types = collapse(rows) if codes is None else cluster_rows(rows, codes)
        found = resampled_interval(types, ratio_of_totals, alpha, replicates or DEFAULT_REPLICATES, seed)
        value, (low, high), name = float(values.mean()), found.bounds, f"mean, {found.name}"
    else:
        skewed = method == "abc"
        value, low, high = _linear_bounds(values, codes, alpha, skewed)
        name = "mean, ABC" if skewed else "mean, t"
    return Measured(value, min(low, value), max(high, value), values.size, unit, "measured", name + suffix)
