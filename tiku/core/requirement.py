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
from typing import Literal

from tiku.core.errors import RequirementError, UnknownName
from tiku.core.measured import Measured
from tiku.core.metric import Metric
from tiku.core.registry import closest
from tiku.core.result import RequirementOutcome
from tiku.core.text import Text
from tiku.core.units import format_quantity, parse_quantity
from tiku.core.verdict import Comparison

__all__ = ["Requirement", "evaluate", "find_metric", "parse_requirement"]

_ALLOWED = (
    "METRIC OP VALUE, for example: accuracy >= 0.98 * base; p95_latency <= 20 ms; f1_macro >= base - 1 pt"
)
_SHAPE = re.compile(r"\s*([A-Za-z_][\w.-]*)\s*(>=|<=|≥|≤|==|!=|=|>|<)(?!=)\s*(\S.*?)\s*$")
_FACTOR = re.compile(r"(?:([\d.eE+-]+)\s*[*×]\s*base|base\s*[*×]\s*([\d.eE+-]+))$")
_OFFSET = re.compile(r"base(?:\s*([+-])\s*(\S.*))?$")
_OPS = {"≥": ">=", "≤": "<="}


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
    low, high = _bounds(requirement, observed, base, against_base)
    met = _decide(requirement.op, low, high, threshold)
    why = None if met is not None else _straddles(requirement, observed, low, high, threshold)
    return RequirementOutcome(requirement.expr, met, observed, on, threshold, why)


def _bounds(
    requirement: Requirement, observed: Measured, base: Measured | None, paired: Comparison | None
) -> tuple[float, float]:
    """The interval of the metric itself; for a relative requirement the paired one around the base."""
    if requirement.relative and observed is base:
        return base.value, base.value  # the base against itself: no sampling error remains
    if requirement.relative and base is not None and paired is not None:
        if paired.scale == "ratio":
            return base.value * paired.low, base.value * paired.high
        return base.value + paired.low, base.value + paired.high
    if observed.low is None or observed.high is None:
        return observed.value, observed.value
    return observed.low, observed.high


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


def _straddles(
    requirement: Requirement, observed: Measured, low: float, high: float, threshold: float
) -> Text:
    unit = requirement.metric.unit
    span = f"{format_quantity(low, unit)} … {format_quantity(high, unit)}"
    goal = format_quantity(threshold, unit)
    items = _items_needed(observed, low, high, threshold)
    more_en = f"; about {items:,} items would be needed" if items else ""
    more_zh = f";约需 {items:,} 个样本" if items else ""
    return Text(
        f"the interval {span} contains the threshold {goal}{more_en}", f"区间 {span} 包含阈值 {goal}{more_zh}"
    )


def _items_needed(observed: Measured, low: float, high: float, threshold: float) -> int | None:
    """Items at which the same observed value would clear the threshold (half-width ∝ 1/√n)."""
    half, distance = (high - low) / 2, abs((high + low) / 2 - threshold)
    if observed.n < 2 or half == 0 or distance < 1e-3 * half:
        return None
    return math.ceil(observed.n * (half / distance) ** 2)
