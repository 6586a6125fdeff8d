"""The bootstrap engine: statistics of totals, resampled by counting how often each kind of row is drawn.

Rows with equal values are exchangeable, so n items collapse to T types with multiplicities, and a
resample of n items is one multinomial draw over T types: exact, and independent of n.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from tiku.measure.stats._checks import FloatArray, IntArray, check_positive

__all__ = [
    "DEFAULT_REPLICATES",
    "Interval",
    "RowTypes",
    "Statistic",
    "bca_bounds",
    "cluster_rows",
    "collapse",
    "ratio_of_totals",
    "replicate",
    "resampled_interval",
]

DEFAULT_REPLICATES = 10_000
_FEWEST_REPLICATES = 1_000
_DRAWS = 40_000_000  # draws at most, above which the number of replicates falls
_LEAST_ERROR = 1e-5  # beyond the last of any number of replicates
_NEVER_TURNS = 1e-6  # a strong acceleration bends a bound outwards, never around
_CHUNK = 1 << 20  # numbers held at once, so that a chunk stays in the cache

Statistic = Callable[[FloatArray], FloatArray]  # totals (…, D) to values (…,)


@dataclass(frozen=True)
class RowTypes:
    """T distinct rows (T, D) and how many resampling units hold each (T,)."""

    rows: FloatArray
    counts: IntArray

    @property
    def totals(self) -> FloatArray:
        """The sum over all units, shape (D,)."""
        return self.counts @ self.rows

    @property
    def units(self) -> int:
        """How many units are resampled."""
        return int(self.counts.sum())


@dataclass(frozen=True)
class Interval:
    """Bounds with the replicates they came from."""

    bounds: tuple[float, float]
    name: str
    replicates: FloatArray


def collapse(rows: FloatArray) -> RowTypes:
    """Equal rows become one type with a multiplicity."""
    distinct, counts = np.unique(rows, axis=0, return_counts=True)
    return RowTypes(distinct, counts.astype(np.int64))


def cluster_rows(rows: FloatArray, codes: IntArray) -> RowTypes:
    """Sum item rows (n, D) over their clusters, then collapse."""
    clusters = int(codes.max()) + 1
    sums = [np.bincount(codes, weights=column, minlength=clusters) for column in rows.T]
    return collapse(np.column_stack(sums))


def ratio_of_totals(totals: FloatArray) -> FloatArray:
    """First total over the second; the mean of items when the second counts them."""
    ratio: FloatArray = totals[..., 0] / totals[..., 1]
    return ratio


def _affordable(types: RowTypes, replicates: int) -> int:
    most = max(_FEWEST_REPLICATES, _DRAWS // len(types.counts))
    return min(check_positive(replicates, "replicates", 100), most)


def _draws(types: RowTypes, replicates: int, rng: np.random.Generator) -> Iterator[IntArray]:
    shares = types.counts / types.units
    size = max(1, _CHUNK // max(types.rows.shape))
    for start in range(0, replicates, size):
        yield rng.multinomial(types.units, shares, size=min(size, replicates - start))


def replicate(types: RowTypes, statistic: Statistic, replicates: int, seed: int) -> FloatArray:
    """The statistic of `replicates` multinomial resamples of the units, shape (replicates,)."""
    rng = np.random.default_rng(seed)
    values = [statistic(drawn @ types.rows) for drawn in _draws(types, replicates, rng)]
    return np.concatenate(values)


def _acceleration(types: RowTypes, statistic: Statistic) -> float:
    without = statistic(types.totals - types.rows)
    mean = np.average(without, weights=types.counts)
    away = mean - without
    spread = float(types.counts @ away**2)
    return float(types.counts @ away**3) / (6 * spread**1.5) if spread > 0 else 0.0


def bca_bounds(values: FloatArray, observed: float, acceleration: float, alpha: float) -> tuple[float, float]:
    """Bias-corrected and accelerated bounds (Efron 1987; DiCiccio and Efron 1996)."""
    below = (np.count_nonzero(values < observed) + 0.5 * np.count_nonzero(values == observed)) / values.size
    bias = float(ndtri(np.clip(below, 0.5 / values.size, 1 - 0.5 / values.size)))
    half = float(-ndtri(alpha / 2))
    z = bias + np.array([-half, half])
    levels = ndtr(bias + z / np.maximum(1 - acceleration * z, _NEVER_TURNS))
    low, high = np.quantile(values, levels, method="inverted_cdf")
    return min(float(low), observed), max(float(high), observed)


def _expanded(alpha: float, units: int) -> float:
    """The smaller error at which a bootstrap of few units covers as asked (Hesterberg 2015): Student's
    quantile for the normal one, and the variance that dividing by n loses."""
    degrees = max(1, units - 1)
    return max(_LEAST_ERROR, 2 * float(ndtr(float(stdtrit(degrees, alpha / 2)) * math.sqrt(units / degrees))))


def resampled_interval(
    types: RowTypes,
    statistic: Statistic,
    alpha: float,
    replicates: int,
    seed: int,
    *,
    fewest: int | None = None,
) -> Interval:
    """BCa interval of `statistic(totals)` under resampling of the units, expanded for few of them.

    `fewest`: the units that carry the statistic where these are less than all (a rare class).
    """
    number = _affordable(types, replicates)
    values = replicate(types, statistic, number, seed)
    observed = float(statistic(types.totals))
    error = _expanded(alpha, fewest or types.units)
    bounds = bca_bounds(values, observed, _acceleration(types, statistic), error)
    return Interval(bounds, f"bootstrap, BCa, {number} replicates", values)
