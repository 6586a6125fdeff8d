"""Ratios of times (or any positive quantity) from interleaved pairs: base, candidate, base, candidate …"""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from tiku.core.errors import DataError
from tiku.core.measured import Measured
from tiku.measure.stats._checks import (
    FloatArray,
    IntArray,
    as_floats,
    check_level,
    check_positive,
    same_length,
)
from tiku.measure.stats.means import ratio_error, t_quantile
from tiku.measure.stats.quantiles import quantile_interval

__all__ = ["RatioMethod", "paired_ratio"]

RatioMethod = Literal["median of ratios", "ratio of medians", "ratio of means"]
_CHUNK = 1 << 20


def _positive_pairs(base: ArrayLike, candidate: ArrayLike) -> tuple[FloatArray, FloatArray]:
    a, b = as_floats(base, "base"), as_floats(candidate, "candidate")
    same_length({"base": a, "candidate": b})
    if min(a.min(), b.min()) <= 0:
        raise DataError(
            "a ratio needs positive values",
            got=f"smallest {min(a.min(), b.min()):g}",
            allowed="above 0",
            next_step="check the clock or the counter that gave a zero",
        )
    return a, b


def paired_ratio(
    base: ArrayLike,
    candidate: ArrayLike,
    *,
    method: RatioMethod = "median of ratios",
    block: int | Literal["auto"] = 1,
    level: float = 0.95,
    replicates: int = 10_000,
    seed: int = 0,
) -> Measured:
    """candidate / base from pairs (n,) that ran next to each other.

    `median of ratios`: median of the pairs' ratios, interval of two order statistics (exact, any
    distribution, from 6 pairs). `ratio of medians` and `ratio of means`: bootstrap of the pairs,
    percentile on the log scale, widened for few pairs (Hesterberg 2015). `block` > 1 resamples runs of that
    many neighbouring pairs (circular block bootstrap, Politis and Romano 1992), for drift that pairs
    share; `auto` takes n^(1/3). Two pairs or fewer give no interval.
    """
    a, b = _positive_pairs(base, candidate)
    alpha = check_level(level)
    if method not in get_args(RatioMethod):
        raise DataError(
            "unknown ratio", got=method, allowed=get_args(RatioMethod), next_step="pass a listed one"
        )
    length = max(1, round(a.size ** (1 / 3))) if block == "auto" else check_positive(block, "block")
    if length > max(1, a.size // 2):
        raise DataError(
            "blocks must be at most half the pairs",
            got=block,
            allowed=f"1 … {max(1, a.size // 2)}",
            next_step="measure more pairs",
        )
    if method == "median of ratios" and length == 1:
        ratios = np.log(b / a)
        logs = quantile_interval(ratios, 0.5, level=level)
        return _exponential(
            logs.value, logs.low, logs.high, a.size, f"median of ratios, {_after_comma(logs)}"
        )
    value = _ratio(a, b, method)
    if a.size < 3:
        return _exponential(math.log(value), None, None, a.size, f"{method}, too few pairs")
    rows = _block_rows(a.size, length, check_positive(replicates, "replicates", 100), seed)
    low, high = _bootstrap_bounds(a, b, method, rows, alpha, length)
    name = f"{method}, {'paired' if length == 1 else f'block of {length}'} bootstrap, {replicates} replicates"
    return _exponential(math.log(value), low, high, a.size, name)


def _after_comma(measured: Measured) -> str:
    return measured.estimator.split(", ", 1)[1]


def _exponential(value: float, low: float | None, high: float | None, n: int, name: str) -> Measured:
    if low is None or high is None:
        return Measured(math.exp(value), None, None, n, "1", "measured", name)
    bounds = math.exp(min(low, value)), math.exp(max(high, value))
    return Measured(math.exp(value), *bounds, n, "1", "measured", name)


def _ratio(a: FloatArray, b: FloatArray, method: RatioMethod) -> float:
    if method == "median of ratios":
        return math.exp(float(np.median(np.log(b / a))))
    if method == "ratio of medians":
        return float(np.median(b) / np.median(a))
    return float(b.mean() / a.mean())


def _block_rows(n: int, block: int, replicates: int, seed: int) -> IntArray:
    """Indices (replicates, n) of circular blocks."""
    rng = np.random.default_rng(seed)
    starts = rng.integers(n, size=(replicates, -(-n // block), 1))
    return ((starts + np.arange(block)) % n).reshape(replicates, -1)[:, :n]


def _log_values(a: FloatArray, b: FloatArray, method: RatioMethod, rows: IntArray) -> FloatArray:
    def chunk(part: IntArray) -> FloatArray:
        if method == "median of ratios":
            found: FloatArray = np.median(np.log(b / a)[part], axis=1)
        elif method == "ratio of medians":
            found = np.log(np.median(b[part], axis=1) / np.median(a[part], axis=1))
        else:
            found = np.log(b[part].mean(axis=1) / a[part].mean(axis=1))
        return found

    step = max(1, _CHUNK // a.size)
    return np.concatenate([chunk(rows[at : at + step]) for at in range(0, len(rows), step)])


def _bootstrap_bounds(
    a: FloatArray, b: FloatArray, method: RatioMethod, rows: IntArray, alpha: float, block: int
) -> tuple[float, float]:
    """Bounds of the log ratio, widened by Student's quantile over the normal one for few blocks.

    The widening (Hesterberg 2015, expanded percentile) repairs the too narrow percentile interval of
    small samples.
    """
    values = _log_values(a, b, method, rows)
    units = a.size / block
    degrees = max(1.0, units - 1)
    wider = t_quantile(degrees, alpha) / t_quantile(1e9, alpha) * math.sqrt(units / degrees)
    centre = math.log(_ratio(a, b, method))
    low, high = np.quantile(values, [alpha / 2, 1 - alpha / 2])
    return centre + (float(low) - centre) * wider, centre + (float(high) - centre) * wider


def log_ratio_error(a: FloatArray, b: FloatArray) -> tuple[float, float, int]:
    """log of the ratio of means, its delta-method error from pairs, and degrees of freedom."""
    ratio, se, degrees = ratio_error(b, a)
    return math.log(ratio), se / ratio, degrees
