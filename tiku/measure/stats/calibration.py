"""Expected calibration error with bias correction and an interval, and the reliability curve.

The plug-in ECE is biased upward: noise in each bin looks like miscalibration. Here the gap of bin b is
taken as normal around its true value, with the bin's own error. Along the line from "calibrated" to
the gaps as observed, c * gap_b, the distribution of the plug-in is simulated; the corrected value is the
c at which the observed plug-in is the median, and the interval holds every c under which it is not
extreme (inversion of a test). At c = 0 the plug-in of a calibrated model is usual, so its corrected
value is 0 about half of the time. For the squared (L2) error the unbiased estimate in closed form of
Kumar, Liang and Ma (2019) is `squared_calibration_error`. See also Roelofs et al. (2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from tiku.core.errors import DataError
from tiku.core.measured import Measured
from tiku.measure.stats._checks import (
    FloatArray,
    IntArray,
    as_binary,
    as_probabilities,
    check_level,
    check_positive,
    group_codes,
    same_length,
)
from tiku.measure.stats.probabilities import probability_table
from tiku.measure.stats.proportions import wilson_bounds

__all__ = [
    "BinMode",
    "ReliabilityBin",
    "ece",
    "ece_interval",
    "reliability_curve",
    "squared_calibration_error",
    "top_label",
]

BinMode = Literal["width", "mass"]
_DRAWS = 4_000
_WIDEST = 64.0  # the search along c * gap stops here


@dataclass(frozen=True)
class ReliabilityBin:
    """One bin: its edges, items, mean confidence, and share that was right with its Wilson interval."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: Measured


@dataclass(frozen=True)
class _Bins:
    weight: FloatArray  # share of the items
    gap: FloatArray  # mean of (confidence - right)
    error: FloatArray  # standard error of the gap


def top_label(y: ArrayLike, p: ArrayLike, classes: ArrayLike | None = None) -> tuple[FloatArray, FloatArray]:
    """Confidence of the predicted class and whether it was right, (n,) each.

    `p` (n, C) or (n,) as in `log_loss`; the usual reading of ECE for several classes (Guo et al. 2017).
    """
    truth, table = probability_table(y, p, classes)
    chosen = table.argmax(axis=1)
    return table[np.arange(truth.size), chosen], (chosen == truth).astype(np.float64)


def _checked(p: ArrayLike, y: ArrayLike, bins: int, mode: str) -> tuple[FloatArray, FloatArray]:
    confidence, right = as_probabilities(p), as_binary(y)
    same_length({"probabilities": confidence, "labels": right})
    check_positive(bins, "bins")
    if mode not in get_args(BinMode):
        raise DataError("unknown kind of bins", got=mode, allowed=get_args(BinMode), next_step="pass 'width'")
    return confidence, right.astype(np.float64)


def _edges(p: FloatArray, bins: int, mode: BinMode) -> FloatArray:
    if mode == "width":
        return np.linspace(0, 1, bins + 1)
    return np.unique(np.quantile(p, np.linspace(0, 1, bins + 1), method="inverted_cdf"))


def _bin_codes(p: FloatArray, edges: FloatArray) -> IntArray:
    """Bins (low, high], the first one closed; equal confidences are never split."""
    return np.clip(np.searchsorted(edges, p, side="left") - 1, 0, max(0, edges.size - 2)).astype(np.int64)


def _binned(p: FloatArray, y: FloatArray, bins: int, mode: BinMode, groups: IntArray | None) -> _Bins:
    codes = np.unique(_bin_codes(p, _edges(p, bins, mode)), return_inverse=True)[1]
    count = np.bincount(codes).astype(np.float64)
    gap = np.bincount(codes, weights=p - y) / count
    chance = np.bincount(codes, weights=p) / count
    hits = np.bincount(codes, weights=y)
    smooth = (hits + chance) / (count + 1)  # never 0 or 1: a bin without errors still has noise
    error = np.sqrt(smooth * (1 - smooth) / count)
    if groups is not None:
        error = np.maximum(error, _cluster_errors(p - y - gap[codes], codes, groups, count))
    return _Bins(count / p.size, gap, error)


def _cluster_errors(away: FloatArray, codes: IntArray, groups: IntArray, count: FloatArray) -> FloatArray:
    pair, at = np.unique(groups * count.size + codes, return_inverse=True)
    sums, of_bin = np.bincount(at, weights=away), pair % count.size
    members = np.bincount(of_bin, minlength=count.size)
    squares = np.bincount(of_bin, weights=sums**2, minlength=count.size)
    return np.sqrt(squares * members / np.maximum(members - 1, 1)) / count


def _plug_in(bins: _Bins) -> float:
    return float(bins.weight @ np.abs(bins.gap))


def ece(
    p: ArrayLike, y: ArrayLike, *, bins: int = 15, mode: BinMode = "width", debias: bool = False
) -> float:
    """Expected calibration error: mean over items of |confidence - share right| in their bin.

    `p` (n,) in [0, 1], `y` (n,) 0/1. `width`: equal widths (Naeini et al. 2015); `mass`: equal numbers
    of items (ties kept together, so bins may be fewer). `debias` removes the upward bias (see module).
    """
    found = _binned(*_checked(p, y, bins, mode), bins, mode, None)
    return _Path(found, 0).corrected() if debias else _plug_in(found)


class _Path:
    """The plug-in's distribution along c * gap, with common random numbers, so it moves smoothly in c."""

    def __init__(self, bins: _Bins, seed: int) -> None:
        self._bins = bins
        self._observed = _plug_in(bins)
        self._noise = np.random.default_rng(seed).standard_normal((_DRAWS, bins.gap.size)) * bins.error

    def _share_at_most(self, c: float) -> float:
        """P(plug-in <= observed) when the true gaps are c times those seen; falls in c."""
        drawn = np.abs(c * self._bins.gap + self._noise) @ self._bins.weight
        return float(np.mean(drawn <= self._observed))

    def _solve(self, share: float) -> float:
        """The largest c at which P(plug-in <= observed) is still `share` or more (0 if none)."""
        if self._share_at_most(0.0) < share:
            return 0.0
        low, high = 0.0, 1.0
        while self._share_at_most(high) >= share and high < _WIDEST:
            low, high = high, 2 * high
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if self._share_at_most(middle) >= share else (low, middle)
        return low

    def corrected(self) -> float:
        """The median-unbiased value, 0 … 1."""
        return min(1.0, self._solve(0.5) * self._observed)

    def bounds(self, alpha: float) -> tuple[float, float]:
        """Every value under which the plug-in seen is not extreme."""
        return (
            min(1.0, self._solve(1 - alpha / 2) * self._observed),
            min(1.0, self._solve(alpha / 2) * self._observed),
        )


def ece_interval(
    p: ArrayLike,
    y: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    bins: int = 15,
    mode: BinMode = "width",
    level: float = 0.95,
    seed: int = 0,
) -> Measured:
    """Bias-corrected ECE with its interval, for these bins; inputs as `ece`, `groups` (n,) for clusters.

    `low` is 0 whenever a calibrated model could have given this plug-in value.
    """
    confidence, right = _checked(p, y, bins, mode)
    codes = group_codes(groups, confidence.size)
    found = _binned(confidence, right, bins, mode, codes)
    path, alpha = _Path(found, seed), check_level(level)
    value, (low, high) = path.corrected(), path.bounds(alpha)
    if _plug_in(found) == 0:  # no direction to scale: the noise of the bins bounds it
        high = float(np.quantile(np.abs(path._noise) @ found.weight, 1 - alpha / 2))
    name = f"ECE, {bins} bins of equal {mode}, bias-corrected, test inversion"
    name += "" if codes is None else ", groups"
    return Measured(value, min(low, value), max(high, value), confidence.size, "1", "measured", name)


def squared_calibration_error(p: ArrayLike, y: ArrayLike, *, bins: int = 15, mode: BinMode = "mass") -> float:
    """Mean squared gap, without the bias of binning noise (Kumar, Liang, Ma 2019); may fall below 0.

    Bins with fewer than two items are left out, for their noise cannot be estimated.
    """
    confidence, right = _checked(p, y, bins, mode)
    codes = np.unique(_bin_codes(confidence, _edges(confidence, bins, mode)), return_inverse=True)[1]
    count = np.bincount(codes).astype(np.float64)
    share = np.bincount(codes, weights=right) / count
    gap = np.bincount(codes, weights=confidence) / count - share
    kept = count > 1
    if not kept.any():
        raise DataError("every bin holds one item", got=f"{bins} bins", next_step="use fewer bins")
    unbiased = gap[kept] ** 2 - share[kept] * (1 - share[kept]) / (count[kept] - 1)
    return float(count[kept] @ unbiased / count[kept].sum())


def reliability_curve(
    p: ArrayLike, y: ArrayLike, *, bins: int = 15, mode: BinMode = "width", level: float = 0.95
) -> list[ReliabilityBin]:
    """The bins that hold items, in order; what a reliability diagram draws."""
    confidence, right = _checked(p, y, bins, mode)
    edges, alpha = _edges(confidence, bins, mode), check_level(level)
    codes = _bin_codes(confidence, edges)
    curve = []
    for code in np.unique(codes):
        held = codes == code
        n, hits = int(held.sum()), int(right[held].sum())
        share = Measured(hits / n, *wilson_bounds(hits, n, alpha), n, "1", "measured", "Wilson")
        last = min(code + 1, edges.size - 1)
        curve.append(
            ReliabilityBin(float(edges[code]), float(edges[last]), n, float(confidence[held].mean()), share)
        )
    return curve
