"""Short bilingual phrases for numbers, shared by the ten questions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiku.core.measured import Measured
from tiku.core.metric import Metric
from tiku.core.text import Text
from tiku.core.units import format_quantity
from tiku.core.verdict import Comparison

__all__ = ["change", "grid_caveats", "inside", "join", "points", "with_interval"]

_FULL_BITS = 16  # number formats of fewer bits per weight are a rounding

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


def points(effect: float, low: float, high: float) -> str:
    """A difference of proportions in percentage points: "-1.25 pt [-2.00, -0.50]"."""
    return f"{100 * effect:+.2f} pt [{100 * low:+.2f}, {100 * high:+.2f}]"


def change(metric: Metric, comparison: Comparison) -> Text:
    """The change of one metric against the base with its interval and verdict."""
    if comparison.scale == "ratio":
        amount = f"×{comparison.effect:.2f} [{comparison.low:.2f}, {comparison.high:.2f}]"
    elif metric.unit == "1":
        amount = points(comparison.effect, comparison.low, comparison.high)
    else:
        amount = f"{comparison.effect:+.3g} [{comparison.low:+.3g}, {comparison.high:+.3g}] {metric.unit}"
    verdict, name = _VERDICTS[comparison.verdict], inside(metric.title)
    return Text(f"{name.en} {amount} ({verdict.en})", f"{name.zh} {amount}（{verdict.zh}）")


def inside(title: Text) -> Text:
    """A title within a sentence: "Accuracy" loses its capital, "AUC-ROC" does not."""
    plain = title.en[1:2].islower()
    return Text(title.en[:1].lower() + title.en[1:] if plain else title.en, title.zh)


def join(parts: list[Text], *, separator: Text = Text("; ", "；")) -> Text:  # noqa: B008 - frozen
    """Several phrases as one."""
    return Text(separator.en.join(p.en for p in parts), separator.zh.join(p.zh for p in parts))


def grid_caveats(facts: Mapping[str, Any]) -> tuple[Text, ...]:
    """What must be known of weights that were rounded before tiku saw them (`facts["weights_grid"]`)."""
    rounded = [one for one in facts.get("weights_grid") or () if 0 < one["bits"] < _FULL_BITS]
    share = sum(one["share"] for one in rounded)
    if share < 0.5:
        return ()
    top = max(rounded, key=lambda one: one["share"])
    bits, block, name = top["bits"], top["block"], top["format"]
    return (
        Text(
            f"the weights were given on a {bits}-bit grid ({name}, blocks of {block}; {share:.0%} of them "
            "are rounded): the base's quality is that of the rounded weights, and rounding them to such a "
            "grid again looks better here than on other weights",
            f"给定的权重已落在 {bits} 位网格上（{name}，每 {block} 个一组；{share:.0%} 已被舍入）："
            "基线质量即舍入后权重的质量，再次量化到这类网格会显得比在其他权重上更好",
        ),
    )
