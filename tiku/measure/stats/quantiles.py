"""Quantiles with distribution-free intervals, for latencies above all."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr

from tiku.core.errors import DataError
from tiku.core.measured import Measured
from tiku.measure.stats._checks import as_floats, check_level

__all__ = ["items_for_quantile", "median_interval", "order_statistic_ranks", "quantile_interval"]


def _check_share(q: float) -> None:
    if not 0 < q < 1:
        raise DataError(
            "a quantile lies strictly between 0 and 1",
            got=q,
            allowed="such as 0.5, 0.95, 0.99",
            next_step="pass 0.95 for p95",
        )


def order_statistic_ranks(n: int, q: float, level: float = 0.95) -> tuple[int, int] | None:
    """Ranks (1 … n) of two order statistics that hold the quantile `q` with probability `level` or more.

    Each tail holds at most (1 - level) / 2 of Binomial(n, q). None where n is too small.
    """
    _check_share(q)
    tail = check_level(level) / 2
    reach = bdtr(np.arange(n + 1, dtype=float), n, q)  # P(count below the quantile <= k)
    low = int(np.searchsorted(reach, tail, side="right"))  # largest l with P(count <= l - 1) <= tail
    high = int(np.searchsorted(reach, 1 - tail, side="left")) + 1  # least u with P(count >= u) <= tail
    return (low, high) if low >= 1 and high <= n else None


def items_for_quantile(q: float, level: float = 0.95) -> int:
    """The fewest values from which an interval for this quantile exists."""
    _check_share(q)
    tail = check_level(level) / 2
    n = int(np.ceil(np.log(tail) / np.log(max(q, 1 - q))))
    while order_statistic_ranks(n, q, level) is None:
        n += 1
    return n


def quantile_interval(x: ArrayLike, q: float, *, unit: str = "1", level: float = 0.95) -> Measured:
    """The quantile `q` of `x` (n,), with the exact interval between two order statistics.

    Needs no assumption on the distribution (David and Nagaraja 2003, 7.1). Too few values: the value
    stands without an interval and the estimator's name says how many would do.
    """
    values = np.sort(as_floats(x, "values"))
    ranks = order_statistic_ranks(values.size, q, level)
    value = float(np.quantile(values, q))
    label = f"p{100 * q:g}"
    if ranks is None:
        needed = items_for_quantile(q, level)
        name = f"{label}, no interval under {needed} values"
        return Measured(value, None, None, values.size, unit, "measured", name)
    low, high = float(values[ranks[0] - 1]), float(values[ranks[1] - 1])
    name = f"{label}, order statistics"
    return Measured(value, min(low, value), max(high, value), values.size, unit, "measured", name)


def median_interval(x: ArrayLike, *, unit: str = "1", level: float = 0.95) -> Measured:
    """The median of `x` (n,); an interval needs 6 values or more."""
    return quantile_interval(x, 0.5, unit=unit, level=level)
