"""Quality against a cost, one mark per candidate with both intervals, and the front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tiku.core.measured import Measured
from tiku.core.metric import Metric
from tiku.core.result import Result, Trial
from tiku.core.task import TASKS
from tiku.core.text import Text
from tiku.report.labels import Label
from tiku.report.numbers import axis_scale, show_measured
from tiku.report.opportunities import objective_of
from tiku.report.plots.figure import Key, Plot
from tiku.report.plots.svg import COLOURS, draw, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["candidate_plots", "quality_of"]

_PANELS = 3
_FEW = 20  # with more candidates than this their intervals are drawn fainter
_USUAL = (
    "throughput", "p50_latency", "time_per_token", "artefact_size", "peak_memory",
    "energy_per_1000", "energy_per_token",
)  # fmt: skip
_KEYS = (
    Key("square", "base", Text("base", "基线")),
    Key("diamond", "accent", Text("chosen", "选定")),
    Key("dot", "muted", Text("other candidates", "其他候选")),
    Key("dash", "muted", Text("front: no candidate beats these in both", "前沿：没有候选在两项上都胜过它们")),
)


@dataclass(frozen=True)
class _Point:
    label: Label
    x: Measured
    y: Measured


def quality_of(result: Result) -> str | None:
    """Name of the headline quality metric of the result's task, where the base has it."""
    task = TASKS.get(str(result.model.get("task")))
    measured = result.trial(result.base).metrics
    return task.quality if task and task.quality in measured else None


def candidate_plots(
    result: Result, labels: Mapping[str, Label], metrics: Mapping[str, Metric]
) -> tuple[Plot, ...]:
    """At most three panels: the objective first, then the costs that the requirements name."""
    quality = quality_of(result)
    if quality is None or quality not in metrics:
        return ()
    return tuple(
        plot
        for number, cost in enumerate(_costs(result, metrics))
        if (plot := _panel(result.trials, labels, metrics[cost], metrics[quality], f"candidates{number}"))
    )


def _costs(result: Result, metrics: Mapping[str, Metric]) -> list[str]:
    named = [objective_of(result) or "", *(outcome.expr.split()[0] for outcome in result.requirements)]
    have = result.trial(result.base).metrics
    ordered = dict.fromkeys(name for name in [*named, *_USUAL] if name in have and name in metrics)
    return [name for name in ordered if metrics[name].scale == "ratio"][:_PANELS]


def _panel(
    trials: Sequence[Trial], labels: Mapping[str, Label], cost: Metric, quality: Metric, key: str
) -> Plot | None:
    points = [
        _Point(labels[t.id], t.metrics[cost.name], t.metrics[quality.name])
        for t in trials
        if cost.name in t.metrics and quality.name in t.metrics
    ]
    if len(points) < 2:
        return None
    factor, unit = axis_scale([p.x.value for p in points], cost.unit)
    figure, axes = new_axes()
    _front(axes, points, cost, quality, factor)
    for point in sorted(points, key=lambda p: bool(p.label.role)):
        _mark(axes, point, factor, few=len(points) <= _FEW)
    axes.margins(0.12, 0.14)
    if max(p.x.value for p in points) > 12 * min(p.x.value for p in points) > 0:
        axes.set_xscale("log")
    titles = {f"trial{p.label.number}": _tooltip(p) for p in points}
    suffix = f" ({unit})" if unit else ""
    return Plot(
        draw(figure, key, titles),
        Text(f"{quality.title.en} and {_inner(cost.title.en)}", f"{quality.title.zh}与{cost.title.zh}"),
        _axis(cost, suffix, arrow="→"),
        _axis(quality, "", arrow="↑"),
        Text(
            f"{len(points)} candidates; every value stands in the table of candidates.",
            f"共 {len(points)} 个候选；数值都列在候选表中。",
        ),
        _KEYS,
    )


def _inner(title: str) -> str:
    return title if title[:2].isupper() else title[:1].lower() + title[1:]


def _axis(metric: Metric, suffix: str, *, arrow: str) -> Text:
    better = Text("higher is better", "越高越好")
    if metric.direction == "lower":
        better = Text("lower is better", "越低越好")
    return Text(
        f"{arrow} {metric.title.en}{suffix}, {better.en}", f"{arrow} {metric.title.zh}{suffix}，{better.zh}"
    )


def _tooltip(point: _Point) -> str:
    return f"#{point.label.number} {point.label}: {show_measured(point.x)}; {show_measured(point.y)}"


def _front(axes: Axes, points: Sequence[_Point], cost: Metric, quality: Metric, factor: float) -> None:
    def beaten(p: _Point) -> bool:
        return any(
            not cost.better(p.x.value, q.x.value)
            and not quality.better(p.y.value, q.y.value)
            and (cost.better(q.x.value, p.x.value) or quality.better(q.y.value, p.y.value))
            for q in points
        )

    front = sorted({(p.x.value / factor, p.y.value) for p in points if not beaten(p)})
    if len(front) > 1:
        axes.plot(*zip(*front, strict=True), color=COLOURS["muted"], linewidth=1.1, dashes=(3, 3), zorder=1)


def _mark(axes: Axes, point: _Point, factor: float, *, few: bool) -> None:
    shape, colour, size = {
        "base": ("s", COLOURS["base"], 8.0),
        "chosen": ("D", COLOURS["accent"], 8.0),
        "": ("o", COLOURS["muted"], 5.0),
    }[point.label.role]
    x, y = point.x.value / factor, point.y.value
    faint = 0.9 if point.label.role else 0.45 if few else 0.2
    for measured, scale, flat in ((point.x, factor, True), (point.y, 1.0, False)):
        if measured.low is not None and measured.high is not None and measured.low < measured.high:
            ends = [measured.low / scale, measured.high / scale]
            line = (ends, [y, y]) if flat else ([x, x], ends)
            axes.plot(*line, color=colour, linewidth=1.1, alpha=faint, solid_capstyle="butt", zorder=2)
    mark = axes.plot(x, y, shape, color=colour, markersize=size, markeredgewidth=0, zorder=3)[0]
    mark.set_gid(f"trial{point.label.number}")
    if point.label.role:
        axes.annotate(
            f"#{point.label.number}", (x, y), (7, 6), textcoords="offset points", fontsize=10.5,
            color=colour, fontweight="bold", zorder=4,
        )  # fmt: skip
