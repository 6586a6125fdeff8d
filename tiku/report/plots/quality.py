"""Exhibits of a classifier's quality, from the details of `classification_quality`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiku.core.measured import Measured
from tiku.core.text import Text
from tiku.report.numbers import Shown, show_measured
from tiku.report.plots.figure import Key, Look, Matrix, Plot, Table
from tiku.report.plots.svg import COLOURS, draw, new_axes

__all__ = ["confusion", "flips", "per_class", "reliability", "roc", "slices", "worst_examples"]

_MOST_CLASSES = 20
_CLASS = Text("class", "类别")
_ITEMS = Text("items", "样本数")
_TEXT = Text("text", "文本")
_TRUE = Text("true", "真实")
_PREDICTED = Text("predicted", "预测")
_CONFIDENCE = Text("confidence", "置信度")


def confusion(look: Look) -> Matrix | None:
    """Counts of true against predicted class, shaded by the share of the true class."""
    classes, counts = look.details.get("classes"), look.details.get("confusion")
    if not classes or not counts or len(classes) > _MOST_CLASSES:
        return None
    shades = tuple(tuple(min(9, 10 * n // max(sum(row), 1)) for n in row) for row in counts)
    return Matrix(
        Text("Confusion matrix", "混淆矩阵"),
        tuple(classes),
        tuple(tuple(f"{n:,}" for n in row) for row in counts),
        shades,
        Text(
            "Counts; the shade is the share of the true class.",
            "数字为样本数，颜色深浅为占该真实类别的比例。",
        ),
    )


def roc(look: Look) -> Plot | None:
    """True against false positive rate."""
    curves = look.details.get("roc")
    if not curves:
        return None
    figure, axes = new_axes()
    axes.plot([0, 1], [0, 1], "--", color=COLOURS["muted"], linewidth=1.1)
    for curve in curves:
        x, y = zip(*curve["points"], strict=True)
        alpha = 1.0 if len(curves) == 1 else 0.55
        axes.plot(x, y, color=COLOURS["accent"], linewidth=1.8, alpha=alpha)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    names = ", ".join(str(curve["class"]) for curve in curves)
    return Plot(
        draw(figure, look.key),
        Text("ROC curve", "ROC 曲线"),
        Text("→ false positive rate", "→ 假正例率"),
        Text("↑ true positive rate", "↑ 真正例率"),
        Text(f"Positive class: {names}.", f"正类：{names}。"),
        (
            Key("line", "accent", Text("the model", "模型")),
            Key("dash", "muted", Text("chance", "随机")),
        ),
    )


def reliability(look: Look) -> Plot | None:
    """Share that was right against the confidence, in bins of equally many items."""
    bins = look.details.get("reliability")
    if not bins:
        return None
    figure, axes = new_axes()
    least = min(min(b["confidence"], b["accuracy"]["low"]) for b in bins)
    start = max(0.0, 0.95 * least)
    axes.plot([start, 1], [start, 1], "--", color=COLOURS["muted"], linewidth=1.1)
    for one in bins:
        x, right = one["confidence"], one["accuracy"]
        axes.plot([x, x], [right["low"], right["high"]], color=COLOURS["accent"], linewidth=1.2, alpha=0.6)
    points = [(b["confidence"], b["accuracy"]["value"]) for b in bins]
    axes.plot(*zip(*points, strict=True), "o", color=COLOURS["accent"], markersize=6, markeredgewidth=0)
    axes.set(xlim=(start, 1.01), ylim=(start, 1.01))
    return Plot(
        draw(figure, look.key),
        Text("Reliability", "可靠性图"),
        Text("→ confidence of the predicted class", "→ 预测类别的置信度"),
        Text("↑ share that was right", "↑ 实际判对的比例"),
        Text(
            f"{len(bins)} bins of about {bins[0]['n']:,} items. Points below the diagonal: over-confident.",
            f"{len(bins)} 个区间，各约 {bins[0]['n']:,} 个样本。点在对角线下方表示过度自信。",
        ),
        (
            Key("dot", "accent", Text("bin with its 95 % interval", "分箱与 95% 区间")),
            Key("dash", "muted", Text("perfectly calibrated", "完全校准")),
        ),
    )


def per_class(look: Look) -> Table | None:
    """Precision, recall and F1 of each class."""
    found = look.details.get("per_class")
    if not found:
        return None
    rows = tuple(
        (name, f"{one['items']:,}", *(_shown(one[metric]) for metric in ("precision", "recall", "f1")))
        for name, one in found.items()
    )
    columns = (_CLASS, _ITEMS, Text("precision", "精确率"), Text("recall", "召回率"), Text("F1", "F1"))
    return Table(Text("Per class", "各类别"), columns, rows, frozenset({1, 2, 3, 4}))


def slices(look: Look) -> Table | None:
    """Accuracy of each slice, the worst first within its kind."""
    rows: list[tuple[str | Shown, ...]] = []
    small = 0
    for kind, report in (look.details.get("slices") or {}).items():
        rows += [(str(kind), one["name"], f"{one['n']:,}", _shown(one)) for one in report["slices"]]
        small += len(report["too_small"])
    if not rows:
        return None
    columns = (Text("kind", "划分"), Text("slice", "切片"), _ITEMS, Text("accuracy", "准确率"))
    note = Text(f"Left out for too few items: {small}.", f"另有 {small} 个切片样本太少，未列出。")
    title = Text("Slices, the worst first", "切片（最差在前）")
    return Table(title, columns, tuple(rows), frozenset({2, 3}), note=note if small else None)


def worst_examples(look: Look) -> Table | None:
    """The errors the model was most certain of."""
    examples = look.details.get("worst_examples")
    if not examples:
        return None
    return Table(
        Text("Worst examples: wrong and most certain of it", "最差样本：判错且最有把握"),
        (_TEXT, _TRUE, _PREDICTED, _CONFIDENCE),
        tuple((e["text"] or "—", e["true"], e["predicted"], f"{e['confidence']:.3f}") for e in examples),
        frozenset({3}),
        frozenset({0}),
        Text(
            "Often the label is what is wrong: look before you train on them.",
            "往往是标签有误：用于训练前请先核对。",
        ),
    )


def flips(look: Look) -> Table | None:
    """Predictions that changed against the base."""
    found = look.details.get("flips")
    if not found:
        return None
    examples = found.get("examples") or ()
    note = Text(
        f"{found['count']:,} predictions changed: "
        f"{found['lost']:,} became wrong, {found['won']:,} became right.",
        f"共 {found['count']:,} 个预测改变：{found['lost']:,} 个由对变错，{found['won']:,} 个由错变对。",
    )
    return Table(
        Text("Predictions that the recipe changed for the worse", "该方案使之变错的预测"),
        (_TEXT, _TRUE, _PREDICTED, _CONFIDENCE, Text("base's confidence", "基线的置信度")),
        tuple(
            (
                e["text"] or "—", e["true"], e["predicted"],
                f"{e['confidence']:.3f}", f"{e['base_confidence']:.3f}",
            )
            for e in examples
        ),
        frozenset({3, 4}),
        frozenset({0}),
        note,
    )  # fmt: skip


def _shown(value: Mapping[str, Any]) -> Shown:
    names = ("value", "low", "high", "n", "unit", "how", "estimator")
    return show_measured(Measured(**{name: value[name] for name in names}))
