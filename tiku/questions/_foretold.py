"""The memory that was predicted beside what was measured."""

from __future__ import annotations

from tiku.core.question import Evidence
from tiku.core.result import Trial
from tiku.core.text import Text
from tiku.core.units import format_quantity
from tiku.questions._weighing import own_recipe

__all__ = ["foretold"]

_CLOSE = 0.25  # glibc keeps up to half of the freed activations: the prediction itself says so much


def foretold(evidence: Evidence) -> tuple[Text, ...]:
    """The base's peak as predicted and as measured, and each recipe's that lies further off than usual."""
    told = [(trial, pair) for trial in (evidence.base, *evidence.trials) if (pair := _pair(trial))]
    kept = [(t, p) for t, p in told if t.id == evidence.base.id or abs(p[1] / p[0] - 1) > _CLOSE]
    return tuple(_line(_name(trial, evidence), *pair) for trial, pair in kept)


def _pair(trial: Trial) -> tuple[float, float] | None:
    """(predicted, measured) bytes."""
    details = trial.details.get("peak_memory") or {}
    if not details.get("predicted") or not details.get("split"):
        return None
    return float(details["predicted"]["peak"]), float(details["split"]["peak"])


def _name(trial: Trial, evidence: Evidence) -> Text:
    if trial.id == evidence.base.id:
        return Text("the base", "基线")
    recipe = str(own_recipe(trial, evidence.base))
    return Text(recipe, recipe)


def _line(name: Text, before: float, after: float) -> Text:
    old, new = (format_quantity(value, "byte") for value in (before, after))
    return Text(
        f"predicted peak of {name.en} before anything ran: {old}; measured {new} (×{after / before:.2f})",
        f"{name.zh}的峰值，运行前预测 {old}，实测 {new}（×{after / before:.2f}）",
    )
