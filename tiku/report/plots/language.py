"""Exhibits of a language model's quality, from the details of `perplexity` and `multiple_choice`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tiku.core.text import Text
from tiku.report.numbers import show_value
from tiku.report.plots.figure import Key, Look, Plot, Table
from tiku.report.plots.svg import COLOURS, draw, new_axes

__all__ = ["by_context", "choice_protocol", "documents", "hardest_passages", "text_protocol"]

_TOKENS = Text("tokens", "词元数")
_PERPLEXITY = Text("perplexity", "困惑度")
_MOST_ROWS = 12


def by_context(look: Look) -> Plot | None:
    """Perplexity by how many tokens stood before the predicted one."""
    own = look.details.get("by_context")
    if not own or len(own) < 2:
        return None
    figure, axes = new_axes()
    base = (look.base_details or {}).get("by_context") or []
    other = base if base != own else []
    for points, colour, style in ((other, "base", "--"), (own, "accent", "-")):
        if points:
            axes.plot(
                [p["most"] for p in points], [p["perplexity"] for p in points],
                style, color=COLOURS[colour], linewidth=1.8, marker="o", markersize=4.5, markeredgewidth=0,
            )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    _set_ticks(axes, [p["perplexity"] for p in (*own, *other)])
    keys = (Key("line", "accent", Text("this model", "该模型")), Key("dash", "base", Text("base", "基线")))
    return Plot(
        draw(figure, look.key),
        Text("What context is worth", "上下文的价值"),
        Text("→ tokens before the predicted one, up to", "→ 被预测词元之前的词元数（至多）"),
        Text("↑ perplexity, lower is better", "↑ 困惑度，越低越好"),
        Text(
            f"{sum(p['tokens'] for p in own):,} predicted tokens, grouped by the text before them.",
            f"{sum(p['tokens'] for p in own):,} 个被预测词元，按其前文长度分组。",
        ),
        keys if other else keys[:1],
    )


def _set_ticks(axes: Any, values: Sequence[float]) -> None:
    """Round numbers 1, 2, 5 × 10ⁿ within the values: a log axis over less than a decade has no others."""
    low, high = min(values), max(values)
    every = (m * 10.0**e for e in range(-1, 9) for m in (1, 2, 5))
    ticks = [t for t in every if low * 0.9 <= t <= high * 1.1]
    axes.set_yticks(ticks or [low, high])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:.1g}")


def documents(look: Look) -> Table | None:
    """Perplexity of each document, the hardest first."""
    found = look.details.get("documents")
    if not found:
        return None
    with_base = "base_perplexity" in found[0]
    rows = [
        (
            one["title"], f"{one['tokens']:,}", show_value(one["perplexity"], "1"),
            *((show_value(one["base_perplexity"], "1"),) if with_base else ()),
        )
        for one in found[:_MOST_ROWS]
    ]  # fmt: skip
    columns = (Text("document", "文档"), _TOKENS, _PERPLEXITY)
    more = len(found) - len(rows)
    note = Text(f"{more} more documents are in result.json.", f"另有 {more} 篇见 result.json。")
    return Table(
        Text("Documents, the hardest first", "文档（最难在前）"),
        (*columns, Text("base's", "基线")) if with_base else columns,
        tuple(rows),
        frozenset({1, 2, 3}),
        note=note if more else None,
    )


def hardest_passages(look: Look) -> Table | None:
    """The stretches with the most nats per token."""
    found = look.details.get("hardest_passages")
    if not found:
        return None
    return Table(
        Text("Hardest passages", "最难的段落"),
        (Text("text", "文本"), Text("document", "文档"), _TOKENS, _PERPLEXITY),
        tuple(
            (one["text"], one["title"], f"{one['tokens']:,}", show_value(one["perplexity"], "1"))
            for one in found
        ),
        frozenset({2, 3}),
        frozenset({0}),
        Text(
            "Lists, markup and broken text often stand here: look before you blame the model.",
            "这里常是列表、标记或损坏的文本：先查看数据再归咎于模型。",
        ),
    )


def text_protocol(look: Look) -> Table | None:
    """Everything the perplexity depends on beside model and text."""
    found = look.details.get("protocol")
    if not found:
        return None
    start = " ".join(found["start"]) or "—"
    units = f"{found['unit_count']:,} {found['units']}"
    units_zh = f"{found['unit_count']:,} 个{'文档' if found['units'] == 'documents' else '文本块'}"
    fed = f"{found['tokens']:,}, {found['fed_tokens']:,}"
    rows: tuple[tuple[Text, str | Text], ...] = (
        (Text("context, stride", "上下文、步长"), f"{found['context']:,}, {found['stride']:,}"),
        (Text("token before each document", "每篇文档之前的词元"), start),
        (Text("tokens predicted, fed", "预测的、输入的词元数"), fed),
        (Text("bytes", "字节数"), f"{found['bytes']:,}"),
        (Text("documents", "文档数"), f"{found['documents']:,}"),
        (Text("independent units of the interval", "区间的独立单元"), Text(units, units_zh)),
        *_computed(found),
    )
    return _protocol(Text("How the text was scored", "文本如何计分"), rows)


def choice_protocol(look: Look) -> Table | None:
    """Everything the accuracy depends on beside model and questions."""
    found = look.details.get("protocol")
    if not found:
        return None
    close = look.details.get("decided_within_noise", 0)
    rows: tuple[tuple[Text, str | Text], ...] = (
        (Text("worked examples before each question", "每题之前的示例数"), str(found["shots"])),
        (Text("accuracy of guessing", "随机猜测的准确率"), f"{100 * found['chance']:.3g}%"),
        (Text("options scored, their tokens", "计分的选项数、词元数"),
         f"{found['options']:,}, {found['tokens_scored']:,}"),
        *_computed(found),
        (Text("questions decided within the noise floor", "在噪声水平内决出的题数"), f"{close:,}"),
    )  # fmt: skip
    shown = Text(f"First prompt: {found['prompt']}", f"首个提示：{found['prompt']}")
    return _protocol(Text("How the questions were asked", "题目如何提问"), rows, shown)


def _computed(found: Mapping[str, Any]) -> tuple[tuple[Text, str | Text], ...]:
    """The way of computing, and how far it is from one request at a time."""
    ways = {
        "packed": Text("packed rows with a shared prefix", "共享前缀的打包行"),
        "cached": Text("key/value cache", "键值缓存"),
        "plain": Text("whole sequences", "完整序列"),
    }
    floor, probes = f"{found['noise_floor_nats']:.1e}", found["probes"]
    return (
        (Text("computed by", "计算方式"), ways.get(found["path"], Text(found["path"], found["path"]))),
        (
            Text("noise floor: batching moved a sum of nats by", "噪声水平：批处理使对数似然之和改变"),
            Text(f"{floor} at most, on {probes} probes", f"至多 {floor}（{probes} 个探针）"),
        ),
    )


def _protocol(title: Text, rows: tuple[tuple[Text, str | Text], ...], note: Text | None = None) -> Table:
    return Table(title, (Text("protocol", "协议"), Text("value", "取值")), rows, note=note)
