"""Short bilingual phrases for numbers, shared by the ten questions."""

from __future__ import annotations

from tiku.core.measured import Measured
from tiku.core.metric import Metric
from tiku.core.text import Text
from tiku.core.units import format_quantity
from tiku.core.verdict import Comparison

__all__ = ["change", "join", "with_interval"]

_VERDICTS = {
    "better": Text("better", "更好"),
    "worse": Text("worse", "更差"),
    "equivalent": Text("equivalent", "等效"),
    "cannot tell": Text("cannot tell", "无法判断"),
}


def with_interval(measured: Measured) -> str:
    """ "0.846 [0.822, 0.868]", the same in both languages."""
    value = format_quantity(measured.value, measured.unit)
    if measured.low is None or measured.high is None or measured.low == measured.high:
        return value
    low, high = (format_quantity(x, measured.unit) for x in (measured.low, measured.high))
    return f"{value} [{low}, {high}]"


def change(metric: Metric, comparison: Comparison) -> Text:
    """The change of one metric against the base with its interval and verdict."""
    if comparison.scale == "ratio":
        amount = f"×{comparison.effect:.2f} [{comparison.low:.2f}, {comparison.high:.2f}]"
    elif metric.unit == "1":
        amount = (
            f"{100 * comparison.effect:+.2f} pt [{100 * comparison.low:+.2f}, {100 * comparison.high:+.2f}]"
        )
    else:
        amount = f"{comparison.effect:+.3g} [{comparison.low:+.3g}, {comparison.high:+.3g}] {metric.unit}"
    verdict = _VERDICTS[comparison.verdict]
    return Text(
        f"{metric.title.en.lower()} {amount} ({verdict.en})", f"{metric.title.zh} {amount}({verdict.zh})"
    )


def join(parts: list[Text], *, separator: Text = Text("; ", "；")) -> Text:  # noqa: B008 - frozen
    """Several phrases as one."""
    return Text(separator.en.join(p.en for p in parts), separator.zh.join(p.zh for p in parts))
