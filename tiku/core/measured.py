"""`Measured`: the only form a number may take outside a kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

__all__ = ["How", "Measured"]

How = Literal["measured", "counter", "modelled", "cited"]


@dataclass(frozen=True)
class Measured:
    """A value with its interval and its origin.

    `low` and `high` bound a two-sided 95 % interval unless `estimator` says otherwise; both are
    None where no interval can be given (one observation of a noisy quantity). An exact count has
    `low == value == high`. `n` is the number of items or repetitions behind the value. `unit` is
    one of `tiku.core.units` ("1" for a proportion). `estimator` names the method ("Wilson",
    "median, order statistics", "DeLong").
    """

    value: float
    low: float | None
    high: float | None
    n: int
    unit: str
    how: How
    estimator: str

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise ValueError(f"low and high must both be set or both be None: {self.low}, {self.high}")
        bounds = [x for x in (self.value, self.low, self.high) if x is not None]
        if any(not math.isfinite(x) for x in bounds):
            raise ValueError(f"a Measured holds finite numbers: {bounds}")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        if self.how not in get_args(How):
            raise ValueError(f"how must be one of {get_args(How)}: {self.how!r}")

    @classmethod
    def exact(cls, value: float, unit: str, *, n: int = 1, estimator: str = "count") -> Measured:
        """A count that carries no sampling error (bytes on disk, parameters)."""
        return cls(value, value, value, n, unit, "counter", estimator)

    def scaled(self, factor: float, unit: str | None = None) -> Measured:
        """The same measurement times a positive constant."""
        if factor <= 0:
            raise ValueError(f"factor must be positive: {factor}")
        low = None if self.low is None else self.low * factor
        high = None if self.high is None else self.high * factor
        return replace(self, value=self.value * factor, low=low, high=high, unit=unit or self.unit)
