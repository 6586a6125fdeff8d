"""Drawings of what a recipe costs: paired rounds of work, joules, memory by use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tiku.core.text import Text
from tiku.report.numbers import axis_scale, show_bytes
from tiku.report.plots.figure import Key, Look, Plot
from tiku.report.plots.svg import COLOURS, draw, new_axes

__all__ = ["energy", "memory", "throughput"]

_PARTS = (
    ("libraries", "base", Text("libraries", "运行库")),
    ("weights", "accent", Text("weights", "权重")),
    ("activations", "warn", Text("activations", "激活")),
    ("load_transient", "grid", Text("only while loading", "仅加载时")),
)


def throughput(look: Look) -> Plot | None:
    """Items per second in each round, base and candidate alternating."""
    items, own, base = (look.details.get(k) for k in ("items_per_round", "seconds", "base_seconds"))
    if not items or not own:
        return None
    rates, base_rates = [items / s for s in own], [items / s for s in base or ()]
    title = Text("Throughput, round by round", "逐轮吞吐量")
    return _rounds(look, rates, base_rates, title, Text("items per second", "每秒样本数"))


def energy(look: Look) -> Plot | None:
    """Joules in each round."""
    own, base = look.details.get("joules"), look.details.get("base_joules")
    if not own:
        return None
    factor, unit = axis_scale([*own, *(base or ())], "J")
    scaled = [j / factor for j in own], [j / factor for j in base or ()]
    title = Text("Energy, round by round", "逐轮能耗")
    note = look.details.get("energy_note")
    plot = _rounds(look, *scaled, title, Text(f"energy per round ({unit})", f"每轮能耗（{unit}）"))
    return plot if note is None else _with_note(plot, Text(note["en"], note["zh"]))


def memory(look: Look) -> Plot | None:
    """What the peak of a fresh process went for: the base above, the recipe below, and below that what was
    predicted of the recipe."""
    own = look.details.get("split")
    if not own:
        return None
    base = (look.base_details or {}).get("split")
    told = look.details.get("predicted")
    bars = [*([(f"≈#{look.number}", told)] if told else []), (f"#{look.number}", own)]
    bars += [("#0", base)] if base and look.number else []
    figure, axes = new_axes(360, 60 + 34 * len(bars))
    factor, unit = axis_scale([split["peak"] for _, split in bars], "byte")
    for place, (_, split) in enumerate(bars):
        left = 0.0
        for name, colour, _ in _PARTS:
            width = split.get(name, 0) / factor
            axes.barh(place, width, 0.6, left, color=COLOURS[colour], linewidth=0)
            left += width
    axes.set_yticks(range(len(bars)), [name for name, _ in bars])
    axes.grid(visible=False, axis="y")
    keys = [Key("box", colour, _with_size(text, own.get(name, 0))) for name, colour, text in _PARTS]
    return Plot(
        draw(figure, look.key),
        Text("What the peak went for", "内存峰值的构成"),
        Text(f"→ memory of a fresh process ({unit})", f"→ 新进程的内存（{unit}）"),
        None,
        _of_memory(look.number, told),
        tuple(keys),
    )


def _of_memory(number: int, told: Mapping[str, Any] | None) -> Text:
    sizes = Text(f"Sizes in the legend are those of #{number}.", f"图例中的大小属于 #{number}。")
    if not told:
        return sizes
    batch, peak = f"{told['batch']} × {told['tokens']}", show_bytes(told["peak"])
    return Text(
        f"{sizes.en} ≈#{number}: what its config and file headers predict for {batch} tokens, {peak}, with "
        "the libraries as measured.",
        f"{sizes.zh}≈#{number}：由配置与文件头预测的 {batch} 词元用量，共 {peak}，其中运行库取实测值。",
    )


def _with_size(text: Text, size: float) -> Text:
    return Text(f"{text.en} {show_bytes(size)}", f"{text.zh} {show_bytes(size)}")


def _with_note(plot: Plot, note: Text) -> Plot:
    words = plot.description
    joined = Text(f"{words.en} {note.en}", f"{words.zh}{note.zh}")
    return Plot(plot.svg, plot.title, plot.x, plot.y, joined, plot.keys)


def _rounds(look: Look, own: Sequence[float], base: Sequence[float], title: Text, y: Text) -> Plot:
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_axes()
    for values, colour, shape in ((base, "base", "s"), (own, "accent", "o")):
        if values:
            x = range(1, len(values) + 1)
            axes.plot(x, values, "-", color=COLOURS[colour], linewidth=1, alpha=0.5)
            axes.plot(x, values, shape, color=COLOURS[colour], markersize=6, markeredgewidth=0)
    axes.set_ylim(bottom=0, top=1.12 * max(*own, *base))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    keys = (Key("dot", "accent", Text("this recipe", "该方案")),)
    return Plot(
        draw(figure, look.key),
        title,
        Text("→ round", "→ 轮次"),
        Text(f"↑ {y.en}", f"↑ {y.zh}"),
        Text(
            f"{len(own)} rounds; base and recipe take turns on the same work.",
            f"共 {len(own)} 轮；基线与该方案轮流处理相同的工作。",
        ),
        (*keys, Key("square", "base", Text("base", "基线"))) if base else keys,
    )
