"""Methods of a question that an exam like this one does not try, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tiku.core import registry
from tiku.core.method import Method, Situation
from tiku.core.protocol import BUDGETS
from tiku.core.question import Evidence
from tiku.core.text import Text
from tiku.runtimes._available import installed

__all__ = ["unasked"]

_BY_RECIPE = Text(
    "no config is worth a trial for this model; `tiku apply` carries out a recipe that names one",
    "对此模型没有值得一试的配置；可在方案中指定，用 `tiku apply` 执行",
)


def unasked(methods: Iterable[type[Method]], evidence: Evidence) -> tuple[Text, ...]:
    """One caveat that names each method without a proposal, those of one reason together."""
    trials = (evidence.base, *evidence.trials, *evidence.others)
    asked = {step.method for t in trials for step in t.recipe.steps}
    asked |= {step.method for recipe in evidence.not_run for step in recipe.steps}
    names: dict[Text, list[str]] = {}
    for method in methods:
        if method.name not in asked and (why := _reason(method, evidence.situation)) is not None:
            names.setdefault(why, []).append(method.name)
    if not names:
        return ()
    en = "; ".join(f"{', '.join(found)} ({why.en})" for why, found in names.items())
    zh = "；".join(f"{'、'.join(found)}（{why.zh}）" for why, found in names.items())
    return (Text(f"not tried: {en}", f"未尝试：{zh}"),)


def _reason(method: type[Method], situation: Situation) -> Text | None:
    """None for a method that does propose something."""
    if method.tasks and situation.task not in method.tasks:
        tasks = ", ".join(sorted(method.tasks))
        return Text(f"for {tasks}", f"用于 {tasks}")
    if method.candidates(situation):
        return None
    if (why := method.why_not(situation)) is not None:
        return why
    for budget in BUDGETS[BUDGETS.index(situation.budget) + 1 :]:
        if method.candidates(replace(situation, budget=budget)):
            return Text(f"tried with --budget {budget}", f"--budget {budget} 时尝试")
    return _not_installed(method) or _BY_RECIPE


def _not_installed(method: type[Method]) -> Text | None:
    """What a runtime lacks, with the line that installs it."""
    if method.slot != "runtime" or method.name not in registry.names("runtimes"):
        return None
    return installed(registry.get("runtimes", method.name)).reason
