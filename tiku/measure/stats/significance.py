"""How surely a comparison shows a change, one by one and across all the methods of a question.

A `Comparison` holds an interval and no p-value, so the p-value is recovered from it: on the scale where
the interval is symmetric (logarithms for ratios), from the side that faces "no change". An interval of
few repetitions is that of Student's t, whose tails decide under Holm; its degrees of freedom follow from
how much wider the interval is than the standard error behind `smallest_detectable` allows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from tiku.core.verdict import Comparison

__all__ = ["ALPHA", "adjusted", "p_value"]

ALPHA = 0.05
_DETECTS = 1.959964 + 0.841621  # a detectable effect in standard errors: two-sided 5 %, 80 % power
_NORMAL = 1.959964
_MOST_DEGREES = 1e6


def p_value(comparison: Comparison) -> float:
    """Two-sided, of "no change"; below 0.05 just where the 95 % interval excludes it."""
    from scipy.special import stdtr, stdtrit

    effect, low, high = _symmetric(comparison)
    if effect == 0:
        return 1.0
    half = effect - low if effect > 0 else high - effect
    half = half if half > 0 else high - low  # an end that was cut off at the effect shows no spread
    if half == 0:
        return 0.0  # counted exactly
    degrees = _degrees(half, comparison)
    return 2 * float(stdtr(degrees, -abs(effect) / half * stdtrit(degrees, 0.975)))


def adjusted(comparisons: Mapping[str, Comparison]) -> dict[str, float]:
    """P-values adjusted for their number (Holm 1979), by the same keys."""
    from tiku.measure.stats import holm

    if not comparisons:
        return {}
    values = holm([p_value(one) for one in comparisons.values()])
    return dict(zip(comparisons, (float(v) for v in values), strict=True))


def _symmetric(comparison: Comparison) -> tuple[float, float, float]:
    ends = comparison.effect, comparison.low, comparison.high
    if comparison.scale == "difference":
        return ends
    effect, low, high = (math.log(max(end, 1e-300)) for end in ends)
    return effect, low, high


def _degrees(half: float, comparison: Comparison) -> float:
    """The degrees of freedom at which Student's quantile is `half` in standard errors."""
    from scipy.special import stdtrit

    seen = comparison.smallest_detectable
    if not seen:
        return _MOST_DEGREES
    error = (math.log1p(seen) if comparison.scale == "ratio" else seen) / _DETECTS
    quantile = half / error
    if quantile <= _NORMAL:
        return _MOST_DEGREES
    few, many = 0.0, math.log(_MOST_DEGREES)
    for _ in range(50):
        middle = (few + many) / 2
        few, many = (middle, many) if stdtrit(math.exp(middle), 0.975) > quantile else (few, middle)
    return math.exp(few)
