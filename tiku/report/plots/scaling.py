"""Time of a forward pass by the number of its tokens, from the details of the instrument `scaling`."""

from __future__ import annotations

from tiku.core.text import Text
from tiku.report.numbers import show_value
from tiku.report.plots.figure import Key, Look, Plot
from tiku.report.plots.svg import COLOURS, draw, new_axes

__all__ = ["passes"]


def passes(look: Look) -> Plot | None:
    """Both axes logarithmic: flat where memory and the call itself decide, rising where arithmetic does."""
    tokens, own, base = (look.details.get(name) for name in ("tokens", "seconds", "base_seconds"))
    if not tokens or not own:
        return None
    figure, axes = new_axes()
    for seconds, colour, style in ((base, "base", "--"), (own, "accent", "-")):
        if seconds:
            axes.plot(
                tokens, [1e3 * s for s in seconds], style,
                color=COLOURS[colour], linewidth=1.8, marker="o", markersize=4.5, markeredgewidth=0,
            )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.minorticks_off()
    axes.set_xticks(tokens)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.4g}")
    keys = (Key("line", "accent", Text("this model", "该模型")), Key("dash", "base", Text("base", "基线")))
    few, many = show_value(own[0], "s"), show_value(own[-1], "s")
    return Plot(
        draw(figure, look.key),
        Text("Time of one pass by its tokens", "一次前向计算的时间与词元数"),
        Text("→ tokens in the pass", "→ 一次计算的词元数"),
        Text("↑ milliseconds, lower is better", "↑ 毫秒，越低越好"),
        Text(
            f"{tokens[0]} tokens take {few}, {tokens[-1]} take {many}; the first equals the arithmetic of "
            f"about {look.details['turning_point']:.0f} tokens.",
            f"{tokens[0]} 个词元用时 {few}，{tokens[-1]} 个用时 {many}；前者相当于约 "
            f"{look.details['turning_point']:.0f} 个词元的计算量。",
        ),
        keys if base else keys[:1],
    )
