"""Expected calibration error with bias correction and an interval, and the reliability curve.

The plug-in ECE is biased upward: noise in each bin looks like miscalibration. Here its distribution is
simulated for true errors from 0 to 1 (the number right in a bin is binomial; with groups, normal with
cluster-robust covariance). The corrected value is the one under which the plug-in seen
is the median, and the interval holds every one under which it is not extreme (inversion of a test; the
pattern of the gaps is a nuisance, see `_ece_inversion`). The plug-in of a calibrated model is usual at 0,
so its corrected value is 0 about half of the time. For the squared (L2) error the unbiased estimate in
closed form of Kumar, Liang and Ma (2019) is `squared_calibration_error`. See also Roelofs et al. (2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike

from tiku.core.errors import DataError
from tiku.core.measured import Measured
from tiku.measure.stats._bins import BinMode, bin_codes, bin_edges, binned, plug_in
from tiku.measure.stats._checks import (
    FloatArray,
    as_binary,
    as_probabilities,
    check_level,
    check_positive,
    group_codes,
    same_length,
)
from tiku.measure.stats._ece_inversion import corrected, estimate
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


@dataclass(frozen=True)
class ReliabilityBin:
    """One bin: its edges, items, mean confidence, and share that was right with its Wilson interval."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: Measured


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


def ece(
    p: ArrayLike, y: ArrayLike, *, bins: int = 15, mode: BinMode = "width", debias: bool = False
) -> float:
    """Expected calibration error: mean over items of |confidence - share right| in their bin.

    `p` (n,) in [0, 1], `y` (n,) 0/1. `width`: equal widths (Naeini et al. 2015); `mass`: equal numbers
    of items (ties kept together, so bins may be fewer). `debias` removes the upward bias (see module).
    """
    found = binned(*_checked(p, y, bins, mode), bins, mode)
    return corrected(found) if debias else plug_in(found)


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
    found, alpha = binned(confidence, right, bins, mode, codes), check_level(level)
    fit = estimate(found, codes, seed, alpha)
    name = f"ECE, {bins} bins of equal {mode}, bias-corrected, test inversion"
    name += "" if codes is None else ", groups"
    return Measured(fit.value, fit.low, fit.high, confidence.size, "1", "measured", name)


def squared_calibration_error(p: ArrayLike, y: ArrayLike, *, bins: int = 15, mode: BinMode = "mass") -> float:
    """Mean squared gap, without the bias of binning noise (Kumar, Liang, Ma 2019); may fall below 0.

    Bins with fewer than two items are left out, for their noise cannot be estimated.
    """
    confidence, right = _checked(p, y, bins, mode)
    codes = np.unique(bin_codes(confidence, bin_edges(confidence, bins, mode)), return_inverse=True)[1]
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
    edges, alpha = bin_edges(confidence, bins, mode), check_level(level)
    codes = bin_codes(confidence, edges)
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
