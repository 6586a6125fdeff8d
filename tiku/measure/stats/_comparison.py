"""The parts every comparison shares: effect, its verdict, and the smallest effect to be seen."""

from __future__ import annotations

import math

import numpy as np

from tiku.core.errors import DataError
from tiku.core.metric import Metric
from tiku.core.verdict import Comparison, judge
from tiku.measure.stats._checks import FloatArray
from tiku.measure.stats.power import detectable_effect

__all__ = ["compared", "detectable_in", "effect_of"]


def compared(
    metric: Metric,
    base: float,
    value: float,
    bounds: tuple[float, float],
    detectable: float | None,
    test: str,
) -> Comparison:
    effect = value - base if metric.scale == "difference" else value / base
    low, high = min(bounds[0], effect), max(bounds[1], effect)
    return Comparison(
        base, value, metric.scale, effect, low, high, judge(metric, low, high), detectable, test
    )


def effect_of(metric: Metric, base: FloatArray, value: FloatArray) -> FloatArray:
    if metric.scale == "difference":
        return value - base
    if np.any(base <= 0):
        raise DataError(
            f"{metric.name} cannot be compared as a ratio",
            got="a base (or resample) of 0 or less",
            allowed="above 0",
            next_step="compare it as a difference",
        )
    return value / base


def detectable_in(metric: Metric, replicates: FloatArray) -> float:
    if metric.scale == "ratio":
        return math.expm1(detectable_effect(float(np.std(np.log(replicates)))))
    return detectable_effect(float(np.std(replicates)))
