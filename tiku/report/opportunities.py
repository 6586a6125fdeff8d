"""Candidates by what they save on the exam's objective, and the reason why the others were set aside."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from tiku.core.errors import TikuError
from tiku.core.metric import Metric
from tiku.core.requirement import ASSURED, Requirement, parse_requirement
from tiku.core.result import RequirementOutcome, Result, Status, Trial
from tiku.core.text import Text
from tiku.core.verdict import Comparison
from tiku.examination.search import assurance_of, judge_requirements
from tiku.measure.stats.significance import ALPHA, adjusted
from tiku.report.changes import Change, changes, title_of
from tiku.report.labels import Label
from tiku.report.numbers import show_change
from tiku.report.words import CHANGE_WORDS

__all__ = ["Aside", "Opportunity", "objective_of", "sort_out"]


@dataclass(frozen=True)
class Opportunity:
    """A recipe that measurably improves the objective and misses no requirement."""

    label: Label
    saving: Change
    others: tuple[Change, ...]  # the metrics that the requirements name
    certain: bool  # False while a requirement cannot be told
    assurance: float  # the least probable requirement's chance to be confirmed by another measurement

    @property
    def assured(self) -> bool:
        """Whether the search would stake the one reading of the test split on it."""
        return self.assurance >= ASSURED


@dataclass(frozen=True)
class Aside:
    """A recipe that was not taken, and why."""

    label: Label
    status: Status
    reasons: tuple[Text, ...]


def objective_of(result: Result) -> str | None:
    """Name of the metric the exam improves."""
    objective = result.plan.get("objective")
    if isinstance(objective, Mapping):
        objective = objective.get("metric")
    return objective if isinstance(objective, str) else None


def sort_out(
    result: Result, labels: Mapping[str, Label], metrics: Mapping[str, Metric]
) -> tuple[tuple[Opportunity, ...], tuple[Aside, ...]]:
    """(opportunities, the largest measured saving first; the rest with its reasons).

    A saving counts after Holm's correction over all candidates: of many, the luckiest looks better.
    """
    objective, base = objective_of(result), result.trial(result.base)
    requirements = _requirements(result, metrics)
    compared = {t.id: c for t in result.trials if (c := t.against_base.get(objective or "")) is not None}
    corrected = adjusted(compared)
    ranked: list[tuple[float, Opportunity]] = []
    aside: list[Aside] = []
    for trial in result.trials:
        if trial.id == base.id:
            continue
        measured = [r for r in requirements if r.metric.name in trial.metrics]
        outcomes = judge_requirements(measured, trial, base)
        saved = compared.get(trial.id)
        missed = any(outcome.met is False for outcome in outcomes)
        by_luck = corrected.get(trial.id, 1.0) > ALPHA
        if objective is None or saved is None or saved.verdict != "better" or missed or by_luck:
            reasons = _reasons(trial, objective, outcomes, metrics)
            if saved is not None and saved.verdict == "better" and by_luck:
                reasons = (_lucky(len(compared)), *reasons)
            aside.append(Aside(labels[trial.id], trial.status, reasons))
            continue
        names = [objective, *(outcome.expr.split()[0] for outcome in outcomes)]
        rows = changes(base.metrics, trial.metrics, trial.against_base, metrics, dict.fromkeys(names))
        certain, assured = all(o.met for o in outcomes), assurance_of(requirements, trial, base)
        ranked.append((_strength(saved), Opportunity(labels[trial.id], rows[0], rows[1:], certain, assured)))
    ranked.sort(key=lambda pair: -pair[0])
    return tuple(opportunity for _, opportunity in ranked), tuple(aside)


def _lucky(count: int) -> Text:
    return Text(
        f"better alone, not after Holm's correction over {count} comparisons",
        f"单独看更好，经 {count} 次比较的 Holm 校正后不成立",
    )


def _strength(saved: Comparison) -> float:
    """×0.5 of a time saves as much as ×2 of a rate."""
    if saved.scale == "ratio":
        return abs(math.log(saved.effect)) if saved.effect > 0 else math.inf
    return abs(saved.effect)


def _requirements(result: Result, metrics: Mapping[str, Metric]) -> tuple[Requirement, ...]:
    """The exam's requirements; those on unknown metrics are left out."""
    found = []
    for outcome in result.requirements:
        with suppress(TikuError):
            found.append(parse_requirement(outcome.expr, metrics))
    return tuple(found)


def _reasons(
    trial: Trial,
    objective: str | None,
    outcomes: tuple[RequirementOutcome, ...],
    metrics: Mapping[str, Metric],
) -> tuple[Text, ...]:
    if trial.reason is not None:
        return (trial.reason,)
    found = [Text(f"misses {o.expr}", f"未达到 {o.expr}") for o in outcomes if o.met is False]
    compared = trial.against_base.get(objective or "")
    if objective is not None and compared is None:
        wanted = title_of(objective, metrics)
        found.append(Text(f"{wanted.en} was not measured", f"未测得{wanted.zh}"))
    for name, comparison in trial.against_base.items():
        if (name == objective and comparison.verdict != "better") or comparison.verdict == "worse":
            title, word = title_of(name, metrics), CHANGE_WORDS[comparison.verdict]
            unit = trial.metrics[name].unit if name in trial.metrics else ""
            shown = show_change(comparison, unit)
            found.append(Text(f"{title.en} {word.en}: {shown}", f"{title.zh}{word.zh}：{shown}"))
    return tuple(found)
