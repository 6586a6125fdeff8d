"""Drawings of times: how they are distributed, candidate beside base."""

from __future__ import annotations

from collections.abc import Sequence

from tiku.core.text import Text
from tiku.report.numbers import axis_scale
from tiku.report.plots.figure import Key, Look, Plot
from tiku.report.plots.svg import COLOURS, draw, new_axes

__all__ = ["latency", "steps"]

_BASE = Key("dash", "base", Text("base", "基线"))
_CANDIDATE = Key("line", "accent", Text("this recipe", "该方案"))


def latency(look: Look) -> Plot | None:
    """Share of requests answered within a time."""
    return _distribution(
        look.key,
        look.details.get("seconds") or (),
        look.details.get("base_seconds") or (),
        Text("How long single requests take", "单条请求的耗时"),
        Text("share of requests answered within", "在此时间内得到回答的请求占比"),
    )


def steps(look: Look) -> Plot | None:
    """Share of generated tokens that took at most a time."""
    return _distribution(
        look.key,
        [s for prompt in look.details.get("step_seconds") or () for s in prompt],
        [s for prompt in look.details.get("base_step_seconds") or () for s in prompt],
        Text("How long each token takes", "每个词元的耗时"),
        Text("share of tokens generated within", "在此时间内生成的词元占比"),
    )


def _distribution(key: str, own: Sequence[float], base: Sequence[float], title: Text, y: Text) -> Plot | None:
    if not own:
        return None
    factor, unit = axis_scale([*own, *base], "s")
    figure, axes = new_axes()
    for seconds, colour, style in ((base, "base", "--"), (own, "accent", "-")):
        if seconds:
            at = sorted(s / factor for s in seconds)
            shares = [100 * (i + 1) / len(at) for i in range(len(at))]
            axes.plot(at, shares, style, color=COLOURS[colour], linewidth=1.8, drawstyle="steps-post")
    axes.set_ylim(0, 102)
    axes.set_xlim(left=0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0f}%")
    count = len(own)
    return Plot(
        draw(figure, key),
        title,
        Text(f"→ time ({unit}), lower is better", f"→ 时间（{unit}），越低越好"),
        Text(f"↑ {y.en}", f"↑ {y.zh}"),
        Text(f"{count} times, sorted.", f"{count} 次计时，从短到长排列。"),
        (_CANDIDATE, _BASE) if base else (_CANDIDATE,),
    )
