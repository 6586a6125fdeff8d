"""Rows that set a candidate beside the base, metric by metric."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tiku.core.measured import Measured
from tiku.core.metric import Metric
from tiku.core.text import Text
from tiku.core.verdict import Comparison, Verdict
from tiku.report.numbers import Shown, show_change, show_measured

__all__ = ["Bar", "Change", "changes", "title_of"]

_WIDEST = 8.0  # a bar reaches no further than a ratio of 8 or 1/8


@dataclass(frozen=True)
class Bar:
    """An interval on a line whose middle (50) means "no change"; positions 0 … 100."""

    low: float
    effect: float
    high: float


@dataclass(frozen=True)
class Change:
    """One metric of base and candidate. `change` is None where only one side was measured."""

    name: str
    title: Text
    base: Shown | None
    value: Shown | None
    change: Shown | None
    verdict: Verdict | None
    bar: Bar | None
    test: str = ""


def title_of(name: str, metrics: Mapping[str, Metric]) -> Text:
    """The metric's title; its bare name where no instrument here defines it (a plugin's result)."""
    bare = name.replace("_", " ")
    return metrics[name].title if name in metrics else Text(bare, bare)


def changes(
    base: Mapping[str, Measured],
    candidate: Mapping[str, Measured],
    compared: Mapping[str, Comparison],
    metrics: Mapping[str, Metric],
    names: Iterable[str] | None = None,
) -> tuple[Change, ...]:
    """One row per metric that either side has, in the candidate's order, or the `names` given."""
    wanted = list(names) if names is not None else list(dict.fromkeys((*candidate, *base)))
    widest = {
        scale: max((_reach(c) for c in compared.values() if c.scale == scale), default=0.0)
        for scale in ("difference", "ratio")
    }
    return tuple(
        _change(name, base.get(name), candidate.get(name), compared.get(name), metrics, widest)
        for name in wanted
        if name in base or name in candidate
    )


def _change(
    name: str,
    base: Measured | None,
    value: Measured | None,
    comparison: Comparison | None,
    metrics: Mapping[str, Metric],
    widest: Mapping[str, float],
) -> Change:
    either = value or base
    assert either is not None  # the caller keeps only names that one side has
    return Change(
        name,
        title_of(name, metrics),
        show_measured(base) if base else None,
        show_measured(value) if value else None,
        show_change(comparison, either.unit) if comparison else None,
        comparison.verdict if comparison else None,
        _bar(comparison, widest[comparison.scale]) if comparison else None,
        comparison.test if comparison else "",
    )


def _effects(comparison: Comparison) -> tuple[float, float, float]:
    """Low, effect and high such that 0 is no change: ratios on the logarithm."""
    ends = (comparison.low, comparison.effect, comparison.high)
    if comparison.scale == "difference":
        return ends
    low, effect, high = (math.log(min(max(x, 1 / _WIDEST), _WIDEST)) for x in ends)
    return low, effect, high


def _reach(comparison: Comparison) -> float:
    return max(map(abs, _effects(comparison)))


def _bar(comparison: Comparison, widest: float) -> Bar:
    low, effect, high = (round(50 + 48 * x / widest, 1) if widest else 50.0 for x in _effects(comparison))
    return Bar(low, effect, high)
