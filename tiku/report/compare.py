"""`compare`: two exams, metric by metric, saying no more than their intervals allow.

The difference of two separate estimates takes the interval of Newcombe 1998 and Zou and Donner 2008
(MOVER: the variance recovered from each one's own limits), on the logarithm for ratios. On the same
items it is wider than a paired comparison, so "better" and "worse" stand; "cannot tell" may be caution.
Two runs are never interleaved: times, rates and energy get the drift that the protocol's A/A control
lets pass on top.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tiku.core.instrument import all_metrics
from tiku.core.measured import Measured
from tiku.core.metric import Metric
from tiku.core.protocol import Protocol
from tiku.core.result import Result
from tiku.core.text import Language, Text
from tiku.core.verdict import Comparison, judge
from tiku.report.changes import title_of
from tiku.report.numbers import show_change, show_measured
from tiku.report.words import CHANGE_WORDS, DECISION_WORDS

__all__ = ["CompareRow", "ResultComparison", "compare", "print_comparison"]

_TIMED = frozenset({"s", "1/s", "J"})
_MACHINE = ("cpu", "cores", "ram_bytes", "gpu", "threads", "energy_source")
_TEST = "MOVER from separate intervals"
_DRIFT = Protocol().max_aa


@dataclass(frozen=True)
class CompareRow:
    """One metric of both exams. `comparison` is None where `reason` says why there is none."""

    role: Literal["chosen", "base"]
    metric: str
    title: Text
    a: Measured | None
    b: Measured | None
    comparison: Comparison | None
    reason: Text | None

    @property
    def verdict(self) -> str:
        """How b stands to a: better, worse, equivalent, cannot tell, or not comparable."""
        return self.comparison.verdict if self.comparison else "not comparable"


@dataclass(frozen=True)
class ResultComparison:
    """b against a. `on` is the split the numbers come from; `warnings` say what does not match."""

    a: Result
    b: Result
    on: Literal["test", "validation"]
    rows: tuple[CompareRow, ...]
    warnings: tuple[Text, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "a": _identity(self.a),
            "b": _identity(self.b),
            "on": self.on,
            "rows": [_row_json(row) for row in self.rows],
            "warnings": [dataclasses.asdict(warning) for warning in self.warnings],
        }


def compare(a: Result, b: Result) -> ResultComparison:
    """b against a: the recipes they chose (the base where none was chosen), then their bases."""
    metrics = all_metrics()
    mismatches = dict(_mismatches(a, b))
    on: Literal["test", "validation"] = "test" if a.confirmation and b.confirmation else "validation"
    rows = [
        _row("chosen", name, one.get(name), two.get(name), metrics, mismatches)
        for one, two in [(_chosen(a, on), _chosen(b, on))]
        for name in dict.fromkeys((*one, *two))
    ]
    if a.chosen not in (None, a.base) or b.chosen not in (None, b.base):
        one, two = _base(a, on), _base(b, on)
        rows += [
            _row("base", name, one.get(name), two.get(name), metrics, mismatches)
            for name in dict.fromkeys((*one, *two))
        ]
    return ResultComparison(a, b, on, tuple(rows), tuple(mismatches.values()))


def print_comparison(comparison: ResultComparison, *, language: Language = "en") -> None:
    """Warnings, then one line per metric, on stdout."""
    from rich.table import Table
    from rich.text import Text as Styled

    from tiku.report.terminal import STYLES, console

    out = console()
    for name, result in (("a", comparison.a), ("b", comparison.b)):
        decision = DECISION_WORDS[result.decision][language]
        out.print(
            Styled(f"{name}  {result.run_id}  {result.model['name']} · {result.data['name']}  {decision}")
        )
    for warning in comparison.warnings:
        out.print(Styled(f"! {warning[language]}", "yellow"))
    headers = (
        Text("metric", "指标"),
        Text("a", "a"),
        Text("b", "b"),
        Text("b against a", "b 相对 a"),
        Text("", ""),
    )
    for role, title in (("chosen", Text("chosen recipes", "选定方案")), ("base", Text("bases", "基线"))):
        rows = [row for row in comparison.rows if row.role == role]
        if not rows:
            continue
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for header in headers:
            table.add_column(header[language], overflow="fold")
        for row in rows:
            table.add_row(*_cells(row, language), Styled(_verdict(row, language), STYLES[row.verdict]))
        out.print()
        out.print(Styled(title[language], "bold"))
        out.print(table)


def _cells(row: CompareRow, language: Language) -> list[str]:
    a, b = (str(show_measured(m)) if m else "—" for m in (row.a, row.b))
    unit = (row.a or row.b).unit if row.a or row.b else "1"  # type: ignore[union-attr]
    return [row.title[language], a, b, str(show_change(row.comparison, unit)) if row.comparison else ""]


def _verdict(row: CompareRow, language: Language) -> str:
    why = f": {row.reason[language]}" if row.reason else ""
    return CHANGE_WORDS[row.verdict][language] + why


def _mismatches(a: Result, b: Result) -> Iterator[tuple[str, Text]]:
    """What keeps numbers from being compared: "data", "protocol", "machine"."""
    if _data(a) != _data(b):
        yield (
            "data",
            Text(
                f"different data or splits ({a.data['name']} and {b.data['name']}): "
                "only exact counts are compared",
                f"数据或划分不同（{a.data['name']} 与 {b.data['name']}）：只比较精确计数",
            ),
        )
    if any(a.plan.get(key) != b.plan.get(key) for key in ("budget", "protocol")):
        budgets = a.plan.get("budget"), b.plan.get("budget")
        yield (
            "protocol",
            Text(
                f"different measuring protocols (budgets {budgets[0]} and {budgets[1]}): "
                "only exact counts are compared",
                f"测量协议不同（预算 {budgets[0]} 与 {budgets[1]}）：只比较精确计数",
            ),
        )
    differing = [k for k in _MACHINE if a.environment.get(k) != b.environment.get(k)]
    if differing:
        names = ", ".join(differing)
        yield (
            "machine",
            Text(
                f"different machines ({names}): times, energy and memory are not compared",
                f"机器不同（{names}）：不比较时间、能耗和内存",
            ),
        )


def _data(result: Result) -> tuple[Any, ...]:
    parts = tuple(part["sha256"] for part in result.data.get("parts", ()))
    return result.data["sha256"], parts, dict(result.data["splits"])


def _chosen(result: Result, on: str) -> Mapping[str, Measured]:
    if on == "test" and result.confirmation:
        return result.confirmation.metrics
    return result.trial(result.chosen or result.base).metrics


def _base(result: Result, on: str) -> Mapping[str, Measured]:
    if on == "test" and result.confirmation:
        return result.confirmation.base_metrics
    return result.trial(result.base).metrics


def _row(
    role: Literal["chosen", "base"],
    name: str,
    a: Measured | None,
    b: Measured | None,
    metrics: Mapping[str, Metric],
    mismatches: Mapping[str, Text],
) -> CompareRow:
    reason = _obstacle(a, b, metrics.get(name), mismatches)
    comparison = None
    if reason is None and a is not None and b is not None:
        comparison = _compared(metrics[name], a, b)
    return CompareRow(role, name, title_of(name, metrics), a, b, comparison, reason)


def _obstacle(
    a: Measured | None, b: Measured | None, metric: Metric | None, mismatches: Mapping[str, Text]
) -> Text | None:
    """Why these two cannot be compared, or None."""
    if a is None or b is None:
        which = "a" if a is None else "b"
        return Text(f"not measured in {which}", f"{which} 中未测量")
    if metric is None:
        return Text("no instrument of this installation defines it", "本机安装的测量仪器都没有定义它")
    if a.unit != b.unit or a.how != b.how:
        return Text(
            f"{a.how} in {a.unit} and {b.how} in {b.unit}", f"{a.how}（{a.unit}）与 {b.how}（{b.unit}）"
        )
    if a.low is None or b.low is None:
        return Text("a value without an interval", "缺少区间")
    if a.low == a.high and b.low == b.high:
        return None
    machine_bound = a.unit in _TIMED or a.unit == "byte"
    keys = ("data", "protocol", "machine") if machine_bound else ("data", "protocol")
    words = {
        "data": Text("other data", "数据不同"),
        "protocol": Text("another protocol", "协议不同"),
        "machine": Text("another machine", "机器不同"),
    }
    return next((words[key] for key in keys if key in mismatches), None)


def _compared(metric: Metric, a: Measured, b: Measured) -> Comparison:
    if metric.scale == "ratio" and min(a.value, b.value, a.low or 0.0, b.low or 0.0) > 0:
        low, high = (math.exp(x) for x in _mover(*(_log(m) for m in (a, b))))
        if metric.unit in _TIMED:
            low, high = low / (1 + _DRIFT), high * (1 + _DRIFT)
        ratio = b.value / a.value
        return Comparison(a.value, b.value, "ratio", ratio, low, high, judge(metric, low, high), None, _TEST)
    plain = dataclasses.replace(metric, scale="difference")
    low, high = _mover(*((m.value, _known(m.low), _known(m.high)) for m in (a, b)))
    effect = b.value - a.value
    return Comparison(a.value, b.value, "difference", effect, low, high, judge(plain, low, high), None, _TEST)


def _log(m: Measured) -> tuple[float, float, float]:
    return math.log(m.value), math.log(_known(m.low)), math.log(_known(m.high))


def _known(bound: float | None) -> float:
    assert bound is not None  # _obstacle lets no value without an interval through
    return bound


def _mover(a: tuple[float, float, float], b: tuple[float, float, float]) -> tuple[float, float]:
    """Limits of b - a from (value, low, high) of each."""
    effect = b[0] - a[0]
    return effect - math.hypot(b[0] - b[1], a[2] - a[0]), effect + math.hypot(b[2] - b[0], a[0] - a[1])


def _identity(result: Result) -> dict[str, Any]:
    return {
        "run_id": result.run_id,
        "model": result.model["name"],
        "data": result.data["name"],
        "decision": result.decision,
        "chosen": result.chosen,
    }


def _row_json(row: CompareRow) -> dict[str, Any]:
    from tiku.report.schema import plain

    return {
        "role": row.role,
        "metric": row.metric,
        "a": plain(row.a),
        "b": plain(row.b),
        "comparison": plain(row.comparison),
        "verdict": row.verdict,
        "reason": plain(row.reason),
    }
