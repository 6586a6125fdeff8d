"""Requirements: `METRIC OP VALUE`, absolute ("p95_latency <= 20 ms") or relative to the base.

Grammar::

    requirement = metric op value
    op          = ">=" | "<=" | ">" | "<" | "≥" | "≤"
    value       = quantity | factor "*" "base" | "base" "*" factor | "base" [("+" | "-") quantity]

A requirement is met when the whole 95 % interval lies on the right side, missed when the whole
interval lies on the wrong side, and otherwise cannot be told. A relative requirement is decided on
the paired comparison with the base, which is far narrower than two separate intervals.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from tiku.core.errors import RequirementError, UnknownName
from tiku.core.measured import Measured
from tiku.core.metric import Metric
from tiku.core.registry import closest
from tiku.core.result import RequirementOutcome
from tiku.core.text import Text
from tiku.core.units import format_quantity, parse_quantity
from tiku.core.verdict import Comparison

__all__ = ["ASSURED", "Requirement", "assurance", "evaluate", "find_metric", "parse_requirement"]

ASSURED = 0.9  # the test split is read once: this probable must it be that a recipe is confirmed there

_ALLOWED = (
    "METRIC OP VALUE, for example: accuracy >= 0.98 * base; p95_latency <= 20 ms; f1_macro >= base - 1 pt"
)
_SHAPE = re.compile(r"\s*([A-Za-z_][\w.-]*)\s*(>=|<=|≥|≤|==|!=|=|>|<)(?!=)\s*(\S.*?)\s*$")
_FACTOR = re.compile(r"(?:([\d.eE+-]+)\s*[*×]\s*base|base\s*[*×]\s*([\d.eE+-]+))$")
_OFFSET = re.compile(r"base(?:\s*([+-])\s*(\S.*))?$")
_OPS = {"≥": ">=", "≤": "<="}
_MOST_TIMES = 300.0  # a threshold nearer than this part of the half-width asks for 90,000 times the items
_COUNTED_BY_ITEM = ("1", "bit")  # units of quality; the others are measured by repeating the same work


@dataclass(frozen=True)
class Requirement:
    """`metric op factor * base + offset`, or `metric op offset` when `factor` is 0."""

    expr: str
    metric: Metric
    op: Literal[">=", "<=", ">", "<"]
    factor: float
    offset: float

    @property
    def relative(self) -> bool:
        """Whether the base's value enters."""
        return self.factor != 0

    def threshold(self, base: float | None) -> float:
        """The value to reach. Raises `ValueError` when a relative requirement gets no base."""
        if not self.relative:
            return self.offset
        if base is None:
            raise ValueError(f"{self.expr} needs the base's value")
        return self.factor * base + self.offset


def find_metric(name: str, metrics: Mapping[str, Metric]) -> Metric:
    """A metric by name or alias. Raises `UnknownName` with the nearest names."""
    by_alias = {alias: m for m in metrics.values() for alias in m.aliases}
    known = {**by_alias, **metrics}
    if name not in known:
        hint = closest(name, known) or "run `tiku questions` to see which metrics each question reads"
        raise UnknownName(
            "there is no metric of this name", got=name, allowed=sorted(metrics), next_step=hint
        )
    return known[name]


def parse_requirement(text: str, metrics: Mapping[str, Metric]) -> Requirement:
    """Parse one requirement. Raises `RequirementError`, `UnknownName`."""
    match = _SHAPE.match(text)
    if not match:
        raise RequirementError(
            "this is not a requirement",
            got=text,
            allowed=_ALLOWED,
            next_step="write metric, operator and value, in quotes (the shell takes a bare > for itself)",
        )
    name, op, value = match[1], _OPS.get(match[2], match[2]), match[3]
    if op not in (">=", "<=", ">", "<"):
        raise RequirementError(
            "a measurement has an interval: equality cannot be required",
            got=op,
            allowed=">=, <=, >, <",
            next_step="say on which side the value is good enough",
        )
    metric = find_metric(name, metrics)
    factor, offset = _parse_value(value, metric)
    expr = f"{metric.name} {op} {value}"
    return Requirement(expr, metric, op, factor, offset)  # type: ignore[arg-type]


def _parse_value(value: str, metric: Metric) -> tuple[float, float]:
    if match := _FACTOR.match(value):
        factor = parse_quantity(match[1] or match[2])[0]
        if factor <= 0:
            raise RequirementError(
                "the factor before base must be positive",
                got=value,
                allowed="0.98 * base",
                next_step="write base - 1 pt for a difference",
            )
        return factor, 0.0
    if match := _OFFSET.match(value):
        if match[2] is None:
            return 1.0, 0.0
        return 1.0, _in_unit_of(metric, match[2]) * (1.0 if match[1] == "+" else -1.0)
    if "base" in value:
        raise RequirementError(
            "this use of base is not understood",
            got=value,
            allowed="base, 0.98 * base, base - 1 pt",
            next_step="write it in one of these three forms",
        )
    return 0.0, _in_unit_of(metric, value)


def _in_unit_of(metric: Metric, text: str) -> float:
    number, unit = parse_quantity(text)
    if unit != metric.unit:
        raise RequirementError(
            f"{metric.name} is measured in {metric.unit if metric.unit != '1' else 'plain numbers'}",
            got=text,
            allowed=f"a value such as {format_quantity(1.0, metric.unit)}",
            next_step="a bare number has no unit: write the unit after it"
            if unit == "1"
            else "use a unit of the same kind",
        )
    return number


def evaluate(
    requirement: Requirement,
    observed: Measured | None,
    *,
    base: Measured | None = None,
    against_base: Comparison | None = None,
    on: Literal["test", "validation"] = "validation",
) -> RequirementOutcome:
    """Decide one requirement. A metric that was not measured gives `met=None` with the reason."""
    if observed is None or (requirement.relative and base is None):
        reason = Text(f"{requirement.metric.name} was not measured", f"未测得 {requirement.metric.name}")
        return RequirementOutcome(requirement.expr, None, observed, on, None, reason)
    threshold = requirement.threshold(base.value if base else None)
    span = _span(requirement, observed, base, against_base)
    if span is None:
        return RequirementOutcome(requirement.expr, None, observed, on, threshold, _no_interval(observed))
    met = _decide(requirement.op, span.low, span.high, threshold)
    why = None if met is not None else _straddles(requirement, observed, span, threshold)
    return RequirementOutcome(requirement.expr, met, observed, on, threshold, why)


def assurance(
    requirement: Requirement,
    observed: Measured | None,
    *,
    base: Measured | None = None,
    against_base: Comparison | None = None,
) -> float:
    """How probable it is, 0 to 1, that another measurement of the same size finds the requirement met.

    Both the value seen and the one to come vary around the truth (O'Hagan, Stevens and Campbell 2005,
    Assurance in clinical trial design, with a flat prior). 0 where nothing can be decided.
    """
    if observed is None or (requirement.relative and base is None):
        return 0.0
    threshold = requirement.threshold(base.value if base else None)
    span = _span(requirement, observed, base, against_base)
    if span is None:
        return 0.0
    upward = requirement.op in (">=", ">")
    room = span.value - threshold if upward else threshold - span.value
    half = span.value - span.low if upward else span.high - span.value
    if half <= 0:
        return float(_decide(requirement.op, span.low, span.high, threshold) is True)
    normal = NormalDist()
    return normal.cdf((room - half) / (math.sqrt(2) * half / normal.inv_cdf(0.975)))


@dataclass(frozen=True)
class _Span:
    value: float
    low: float
    high: float


def _span(
    requirement: Requirement, observed: Measured, base: Measured | None, paired: Comparison | None
) -> _Span | None:
    """The interval of the metric itself; for a relative requirement the paired one around the base.

    None where there is none: a bare value decides nothing.
    """
    if requirement.relative and base is not None:
        if observed is base:
            return _Span(base.value, base.value, base.value)  # against itself no sampling error remains
        if paired is not None:
            ends = (paired.effect, paired.low, paired.high)
            at = base.value
            return _Span(*((at * x if paired.scale == "ratio" else at + x) for x in ends))
        return _unpaired(requirement.factor, observed, base)
    if observed.low is None or observed.high is None:
        return None
    return _Span(observed.value, observed.low, observed.high)


def _unpaired(factor: float, observed: Measured, base: Measured) -> _Span | None:
    """Two separate measurements: the base's uncertainty widens the interval (Zou and Donner 2008)."""
    if observed.low is None or observed.high is None or base.low is None or base.high is None:
        return None
    down = math.hypot(observed.value - observed.low, factor * (base.high - base.value))
    up = math.hypot(observed.high - observed.value, factor * (base.value - base.low))
    return _Span(observed.value, observed.value - down, observed.value + up)


def _no_interval(observed: Measured) -> Text:
    n = f"{observed.n:,}"
    return Text(
        f"one bare value decides nothing: {n} measured, too few for an interval ({observed.estimator})",
        f"仅有单一数值，无法判断：测量数 {n}，不足以给出区间（{observed.estimator}）",
    )


def _decide(op: str, low: float, high: float, threshold: float) -> bool | None:
    # A value equal to the threshold up to rounding must not fail `>=` because of the last bit.
    slack = 1e-12 * max(1.0, abs(threshold))
    reached = {
        ">=": (low >= threshold - slack, high < threshold - slack),
        "<=": (high <= threshold + slack, low > threshold + slack),
        ">": (low > threshold, high <= threshold),
        "<": (high < threshold, low >= threshold),
    }[op]
    return True if reached[0] else False if reached[1] else None


def _straddles(requirement: Requirement, observed: Measured, span: _Span, threshold: float) -> Text:
    unit = requirement.metric.unit
    shown = f"{format_quantity(span.low, unit)} … {format_quantity(span.high, unit)}"
    goal = format_quantity(threshold, unit)
    more = _needed(observed.n, span, threshold, unit)
    return Text(
        f"the interval {shown} contains the threshold {goal}; {more.en}",
        f"区间 {shown} 包含阈值 {goal}；{more.zh}",
    )


def _needed(n: int, span: _Span, threshold: float, unit: str) -> Text:
    """What it would take for the same value to clear the threshold (half-width ∝ 1/√n)."""
    distance = abs(span.value - threshold)
    half = span.value - span.low if span.value > threshold else span.high - span.value
    if n < 1 or distance <= half / _MOST_TIMES:
        return Text(
            "the value lies on the threshold, so that no number of items would settle it",
            "数值恰在阈值上，再多样本也无法判定",
        )
    needed = math.ceil(n * max(1.0, (half / distance) ** 2) * (1 - 1e-12))
    if unit in _COUNTED_BY_ITEM:
        return Text(
            f"about {needed:,} items would be needed ({n:,} now)", f"约需 {needed:,} 个样本（现有 {n:,} 个）"
        )
    return Text(
        f"about {needed:,} measurements would be needed ({n:,} now)",
        f"约需测量 {needed:,} 次（现为 {n:,} 次）",
    )
