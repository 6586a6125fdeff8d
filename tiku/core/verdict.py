"""`Comparison`: two measurements on the same work. `Support`: yes, or no with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tiku.core.metric import Metric, Scale
from tiku.core.text import Text

__all__ = ["Comparison", "Support", "Verdict", "judge"]

Verdict = Literal["better", "worse", "equivalent", "cannot tell"]


@dataclass(frozen=True)
class Comparison:
    """A candidate against the base on the same items or the same interleaved work.

    `effect` is `value - base` (scale "difference") or `value / base` (scale "ratio") and
    `low … high` its 95 % interval. `smallest_detectable` is the effect (absolute difference, or
    relative change for a ratio) that this sample could have seen with 80 % power; None where it
    could not be worked out. `test` names the procedure.
    """

    base: float
    value: float
    scale: Scale
    effect: float
    low: float
    high: float
    verdict: Verdict
    smallest_detectable: float | None
    test: str


def judge(metric: Metric, low: float, high: float) -> Verdict:
    """Turn the interval of an effect into a verdict.

    Equivalence comes first (TOST by interval inclusion: both ends within the metric's margin), so a
    change too small to matter is "equivalent" even when it is certain. Otherwise an interval that
    excludes "no change" is better or worse.
    """
    neutral = 0.0 if metric.scale == "difference" else 1.0
    upward: Verdict = "better" if metric.direction == "higher" else "worse"
    downward: Verdict = "worse" if metric.direction == "higher" else "better"
    inside = low >= neutral - metric.margin and high <= neutral + metric.margin
    if inside:
        return "equivalent"
    if low > neutral:
        return upward
    if high < neutral:
        return downward
    return "cannot tell"


@dataclass(frozen=True)
class Support:
    """Whether something can be done here; a no always carries its reason."""

    ok: bool
    reason: Text | None = None

    def __post_init__(self) -> None:
        if not self.ok and self.reason is None:
            raise ValueError("a refusal needs a reason")

    def __bool__(self) -> bool:
        return self.ok

    @classmethod
    def yes(cls) -> Support:
        """Supported."""
        return cls(True)

    @classmethod
    def no(cls, en: str, zh: str) -> Support:
        """Not supported, because …"""
        return cls(False, Text(en, zh))
