"""Intervals for a proportion: Wilson, Clopper–Pearson, and cluster-robust when items come in groups."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv, ndtri

from tiku.core.errors import DataError
from tiku.core.measured import Measured
from tiku.measure.stats._checks import as_binary, check_level, check_positive, group_codes
from tiku.measure.stats._resample import DEFAULT_REPLICATES, cluster_rows, ratio_of_totals, resampled_interval

__all__ = ["clopper_pearson", "proportion", "wilson"]


def _check_counts(successes: int, n: int) -> None:
    check_positive(n, "n")
    if isinstance(successes, bool) or int(successes) != successes or not 0 <= successes <= n:
        raise DataError(
            "successes must be a count within the items",
            got=f"{successes} of {n}",
            allowed=f"0 … {n}",
            next_step="count the items that are right, and all items",
        )


def wilson_bounds(successes: float, n: float, alpha: float) -> tuple[float, float]:
    """Wilson (1927) score bounds; exact 0 and 1 at the ends."""
    z, n = float(-ndtri(alpha / 2)), float(n)
    p = float(successes) / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def wilson(successes: int, n: int, *, level: float = 0.95) -> Measured:
    """`successes / n` with the Wilson score interval (Wilson 1927; advised by Brown, Cai, DasGupta 2001)."""
    _check_counts(successes, n)
    low, high = wilson_bounds(successes, n, check_level(level))
    return Measured(successes / n, low, high, n, "1", "measured", "Wilson")


def clopper_pearson_bounds(successes: int, n: int, alpha: float) -> tuple[float, float]:
    """Exact binomial bounds: each tail holds at most alpha / 2."""
    low = 0.0 if successes == 0 else float(betaincinv(successes, n - successes + 1, alpha / 2))
    high = 1.0 if successes == n else float(betaincinv(successes + 1, n - successes, 1 - alpha / 2))
    return low, high


def clopper_pearson(successes: int, n: int, *, level: float = 0.95) -> Measured:
    """`successes / n` with the exact interval of Clopper and Pearson (1934): never covers too little."""
    _check_counts(successes, n)
    low, high = clopper_pearson_bounds(successes, n, check_level(level))
    return Measured(successes / n, low, high, n, "1", "measured", "Clopper-Pearson")


def proportion(
    correct: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    level: float = 0.95,
    replicates: int | None = None,
    seed: int = 0,
) -> Measured:
    """The share of ones in `correct` (shape (n,), 0/1) with a 95 % interval.

    Independent items: Wilson. With `groups` (shape (n,)): whole groups are resampled (cluster
    bootstrap, BCa), so items of one group may depend on each other; where every item agrees, the
    Wilson interval of the number of groups is given. Raises `DataError` for anything but 0 and 1.
    """
    truth = as_binary(correct, "correct")
    alpha = check_level(level)
    codes = group_codes(groups, truth.size)
    hits = int(truth.sum())
    if codes is None:
        return wilson(hits, truth.size, level=level)
    if hits in (0, truth.size):
        clusters = int(codes.max()) + 1
        low, high = wilson_bounds(clusters if hits else 0, clusters, alpha)
        return Measured(hits / truth.size, low, high, truth.size, "1", "measured", "Wilson on the groups")
    rows = np.column_stack([truth, np.ones(truth.size)]).astype(np.float64)
    found = resampled_interval(
        cluster_rows(rows, codes), ratio_of_totals, alpha, replicates or DEFAULT_REPLICATES, seed
    )
    return Measured(hits / truth.size, *found.bounds, truth.size, "1", "measured", f"cluster {found.name}")
