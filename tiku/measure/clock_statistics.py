"""Intervals of paired times: ratios on the logarithmic scale, where slower and faster are symmetric."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiku.core.measured import How, Measured
from tiku.core.metric import Metric
from tiku.core.verdict import Comparison, judge

__all__ = ["Ratio", "compare", "geometric_mean", "geometric_ratio", "quantile_ratio"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Ratio:
    """candidate / base with its 95 % interval; `log_error` is the standard error of its logarithm."""

    value: float
    low: float
    high: float
    log_error: float
    test: str

    def inverted(self) -> Ratio:
        """The ratio of rates from a ratio of times."""
        return Ratio(1 / self.value, 1 / self.high, 1 / self.low, self.log_error, self.test)


def _log_t(values: FloatArray) -> tuple[float, float, float, float]:
    """(mean, low, high, standard error) of the logarithms by Student's t; n >= 2."""
    from scipy.special import stdtrit

    logs = np.log(values)
    mean, error = float(logs.mean()), float(logs.std(ddof=1) / math.sqrt(logs.size))
    half = float(stdtrit(logs.size - 1, 0.975)) * error
    return mean, mean - half, mean + half, error


def geometric_mean(values: FloatArray, unit: str, *, how: How = "measured") -> Measured:
    """Geometric mean of positive `values` (n,) with a Student interval of the logarithms.

    One value alone has no interval. The ratio of two such means is the mean of the paired ratios.
    """
    if values.size == 1:
        return Measured(float(values[0]), None, None, 1, unit, how, "one value")
    mean, low, high, _ = _log_t(values)
    bounds = math.exp(mean), math.exp(low), math.exp(high)
    return Measured(*bounds, values.size, unit, how, "geometric mean, t of the logarithms")


def geometric_ratio(base: FloatArray, candidate: FloatArray) -> Ratio:
    """Geometric mean of the paired ratios with a Student interval; n >= 2 pairs."""
    mean, low, high, error = _log_t(candidate / base)
    return Ratio(math.exp(mean), math.exp(low), math.exp(high), error, "paired ratios, t of the logarithms")


def quantile_ratio(
    base: FloatArray, candidate: FloatArray, q: float, *, replicates: int = 2000, seed: int = 0
) -> Ratio:
    """Ratio of the quantiles `q`, pairs resampled together (percentile bootstrap, Efron 1979)."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, base.size, size=(replicates, base.size))
    logs = np.log(np.quantile(candidate[drawn], q, axis=1) / np.quantile(base[drawn], q, axis=1))
    value = float(np.quantile(candidate, q) / np.quantile(base, q))
    low, high = np.exp(np.quantile(logs, [0.025, 0.975]))
    test = f"paired bootstrap of the quantile, {replicates} replicates"
    return Ratio(value, min(float(low), value), max(float(high), value), float(logs.std(ddof=1)), test)


def compare(metric: Metric, base: float, value: float, ratio: Ratio) -> Comparison:
    """The comparison of a metric of scale "ratio"; detectable is the change seen with 80 % power."""
    detectable = math.expm1((1.959964 + 0.841621) * ratio.log_error)
    verdict = judge(metric, ratio.low, ratio.high)
    return Comparison(
        base, value, "ratio", ratio.value, ratio.low, ratio.high, verdict, detectable, ratio.test
    )
