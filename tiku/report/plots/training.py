"""How the base learned, from the facts of its build."""

from __future__ import annotations

from tiku.core.text import Text
from tiku.report.numbers import show_duration
from tiku.report.plots.figure import Key, Look, Plot
from tiku.report.plots.svg import COLOURS, draw, new_axes

__all__ = ["accuracy_curve", "learning_curve"]

_TRAIN = Key("line", "accent", Text("training, mean over a stretch of steps", "训练，一段步数的均值"))
_VALIDATION = Key("square", "warn", Text("validation", "验证"))


def learning_curve(look: Look) -> Plot | None:
    """Loss of training and validation by step."""
    curve = look.details.get("learning_curve")
    if not curve or not curve.get("train"):
        return None
    figure, axes = new_axes()
    train, validation = curve["train"], curve.get("validation") or ()
    axes.plot([p["step"] for p in train], [p["loss"] for p in train], color=COLOURS["accent"], linewidth=1.8)
    if validation:
        steps = [p["step"] for p in validation]
        axes.plot(steps, [p["loss"] for p in validation], "-", color=COLOURS["warn"], linewidth=1, alpha=0.6)
        axes.plot(steps, [p["loss"] for p in validation], "s", color=COLOURS["warn"], markersize=5.5)
    axes.set_xlim(left=0)
    seconds = show_duration(curve["seconds"])
    return Plot(
        draw(figure, look.key),
        Text("How the base learned", "基线的学习曲线"),
        Text("→ step", "→ 步数"),
        Text("↑ loss (nats), lower is better", "↑ 损失（奈特），越低越好"),
        Text(f"{curve['steps']:,} steps in {seconds}.", f"共 {curve['steps']:,} 步，用时 {seconds}。"),
        (_TRAIN, _VALIDATION) if validation else (_TRAIN,),
    )


def accuracy_curve(look: Look) -> Plot | None:
    """Validation accuracy while training."""
    points = (look.details.get("learning_curve") or {}).get("validation")
    if not points or len(points) < 2:
        return None
    figure, axes = new_axes()
    steps, shares = [p["step"] for p in points], [p["accuracy"] for p in points]
    axes.plot(steps, shares, "-", color=COLOURS["warn"], linewidth=1.2, alpha=0.7)
    axes.plot(steps, shares, "s", color=COLOURS["warn"], markersize=5.5)
    axes.set_xlim(left=0)
    items = f"{points[-1]['items']:,}"
    return Plot(
        draw(figure, look.key),
        Text("Validation accuracy while it learned", "学习过程中的验证准确率"),
        Text("→ step", "→ 步数"),
        Text("↑ accuracy", "↑ 准确率"),
        Text(
            f"On {items} items, looked at for this curve only; it selects nothing.",
            f"基于 {items} 个样本，仅用于绘制此曲线，不用于选择。",
        ),
        (_VALIDATION,),
    )
