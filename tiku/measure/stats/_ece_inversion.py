"""Inversion of the test "the plug-in calibration error is not extreme": corrected value and bounds.

How much noise lifts the plug-in depends on the pattern of the true gaps: most where one bin holds the
whole gap, least where all bins share it. The value takes the likeliest pattern, each bound its least
favourable one. Shape letters: B bins, D draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, ndtri

from tiku.measure.stats._bins import DRAWS, Bins, draw_noise, plug_in
from tiku.measure.stats._checks import FloatArray, IntArray

__all__ = ["Estimate", "corrected", "estimate"]

_STEPS = 10  # halvings of the search, each to half of the plug-in or less
_ROUNDING = 1e-12
_NEARLY_NORMAL = 7.0  # standard deviation of a count from which a skewed normal replaces the binomial

Errors = Callable[[FloatArray], FloatArray]  # shares right (B,) to simulated plug-ins (D,)


@dataclass(frozen=True)
class Estimate:
    """The bias-corrected calibration error with its bounds."""

    value: float
    low: float
    high: float


def corrected(found: Bins, groups: IntArray | None = None, seed: int = 0) -> float:
    """The true error under which the plug-in seen is the median."""
    return _largest(found, _errors(found, groups, seed), found.likely, 0.5)


def estimate(found: Bins, groups: IntArray | None, seed: int, alpha: float) -> Estimate:
    """The corrected value, and bounds that leave alpha / 2 on each side."""
    errors = _errors(found, groups, seed)
    value = _largest(found, errors, found.likely, 0.5)
    low = _largest(found, errors, found.outstanding, 1 - alpha / 2)
    high = _largest(found, errors, found.shared, alpha / 2)
    return Estimate(value, min(low, value), max(high, value))


def _largest(found: Bins, errors: Errors, pattern: FloatArray, share: float) -> float:
    """The largest true error along `pattern` at which P(plug-in <= seen) is still `share` or more, or 0."""
    seen = plug_in(found) + _ROUNDING

    def reached(scale: float) -> bool:
        return bool(np.mean(errors(found.chances(scale * pattern)) <= seen) >= share)

    if not pattern.any() or not reached(0.0):
        return 0.0
    most = 1 / float(np.abs(pattern).max())
    low, high = 0.0, min(most, max(seen, 1 / found.count.sum()) / float(found.weight @ np.abs(pattern)))
    while high < most and reached(high):
        low, high = high, min(most, 2 * high)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if reached(middle) else (low, middle)
    return float(found.weight @ np.abs(found.confidence - found.chances(low * pattern)))


def _errors(found: Bins, groups: IntArray | None, seed: int) -> Errors:
    return _binomial_errors(found, seed) if groups is None else _normal_errors(found, groups, seed)


def _normal_errors(found: Bins, groups: IntArray, seed: int) -> Errors:
    """Items in groups: the gaps are normal, with the covariance of the groups' sums."""
    noise = draw_noise([found], groups, seed)[0]

    def drawn(chance: FloatArray) -> FloatArray:
        errors: FloatArray = np.abs(found.confidence - chance + noise) @ found.weight
        return errors

    return drawn


def _binomial_errors(found: Bins, seed: int) -> Errors:
    """Independent items: the number right in a bin is binomial. Each draw keeps its luck in every bin, so
    errors move smoothly with the chances; the luck is spread evenly in each bin (Latin hypercube)."""
    rng = np.random.default_rng(seed)
    luck_BD = (rng.permuted(np.tile(np.arange(DRAWS), (found.count.size, 1)), axis=1) + 0.5) / DRAWS

    def drawn(chance: FloatArray) -> FloatArray:
        bins = zip(found.count.tolist(), chance.tolist(), luck_BD, strict=True)
        share_BD = np.stack([_count_at(n, p, luck) / n for n, p, luck in bins])
        errors: FloatArray = found.weight @ np.abs(found.confidence[:, None] - share_BD)
        return errors

    return drawn


def _count_at(n: int, p: float, luck: FloatArray) -> FloatArray:
    """Quantiles of Binomial(n, p), (D,); above some size through the Cornish-Fisher expansion."""
    mean, deviation = n * p, float(np.sqrt(n * p * (1 - p)))
    if deviation > _NEARLY_NORMAL:
        z = ndtri(luck)
        skewed: FloatArray = np.rint(mean + deviation * z + (1 - 2 * p) * (z * z - 1) / 6)
        return np.clip(skewed, 0, n)
    reach = 8 * deviation + 8
    lowest, highest = max(0, int(mean - reach)), min(n, int(mean + reach) + 1)
    below = bdtr(np.arange(lowest, highest, dtype=np.float64), n, p)
    return lowest + np.searchsorted(below, luck).astype(np.float64)
