"""`Plan`: everything the user decided, checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from tiku.core import registry
from tiku.core.errors import BadInput, RequirementError
from tiku.core.instrument import all_metrics
from tiku.core.metric import Metric
from tiku.core.protocol import BUDGETS, Budget, Protocol, protocol_for
from tiku.core.requirement import Requirement, find_metric, parse_requirement
from tiku.core.task import Task

__all__ = ["Plan", "Target", "target_for"]

_MINUTES: dict[Budget, float] = {"quick": 5.0, "standard": 14.0, "thorough": 60.0}


@dataclass(frozen=True)
class Plan:
    """The arguments of an exam.

    `columns` are the data flags (text, label, …). `minimize` or `maximize` names the objective;
    neither: the task's own. `minutes` overrides the budget's. `questions` are ids; empty: all ten.
    `search` False measures the questions' trials and answers them, without joining methods.
    """

    model: str
    data: tuple[str, ...]
    out: Path
    task: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    require: tuple[str, ...] = ()
    minimize: str | None = None
    maximize: str | None = None
    budget: Budget = "standard"
    minutes: float | None = None
    seed: int = 0
    threads: int | None = None
    device: str = "auto"
    questions: tuple[str, ...] = ()
    finetune: Mapping[str, Any] = field(default_factory=dict)
    search: bool = True

    def __post_init__(self) -> None:
        if not self.data:
            raise BadInput(
                "no data was given", allowed="--data PATH or --data sample:NAME", next_step="tiku samples"
            )
        _one_of("budget", self.budget, BUDGETS)
        if self.minutes is not None and not 0 < self.minutes <= 10_000:
            raise BadInput("minutes must be positive", got=self.minutes, allowed="0 … 10000")
        if self.threads is not None and not 1 <= self.threads <= 1024:
            raise BadInput("threads must be at least 1", got=self.threads, allowed="1 … 1024")
        if not 0 <= self.seed < 2**31:
            raise BadInput(
                "the seed must be a non-negative whole number", got=self.seed, allowed="0 … 2147483647"
            )
        if self.minimize and self.maximize:
            raise BadInput(
                "only one objective can be improved", got=f"{self.minimize} and {self.maximize}",
                next_step="turn one of them into a --require",
            )  # fmt: skip
        for question in self.questions:
            registry.target("questions", question)

    def seconds(self) -> float:
        """The time budget."""
        return 60.0 * (self.minutes if self.minutes is not None else _MINUTES[self.budget])

    def protocol(self) -> Protocol:
        """The measuring protocol of the budget."""
        return protocol_for(self.budget, seed=self.seed, threads=self.threads, device=self.device)

    def inputs(self) -> dict[str, Any]:
        """The plain values from which every process loads the same model and data."""
        return {
            "model": self.model, "data": list(self.data), "task": self.task,
            "columns": dict(self.columns), "seed": self.seed,
        }  # fmt: skip


@dataclass(frozen=True)
class Target:
    """What the exam is to reach: parsed requirements and the metric to improve."""

    requirements: tuple[Requirement, ...]
    objective: Metric
    metrics: Mapping[str, Metric]
    stated: bool  # whether the user stated a requirement


def target_for(plan: Plan, task: Task) -> Target:
    """Parse requirements and objective for a task. Raises `RequirementError`, `UnknownName`."""
    metrics = all_metrics()
    texts: Sequence[str] = plan.require or (task.keep,)
    requirements = tuple(parse_requirement(text, metrics) for text in texts)
    for requirement in requirements:
        if not requirement.metric.applies_to(task.name):
            raise RequirementError(
                f"{requirement.metric.name} has no meaning for {task.name}",
                got=requirement.expr,
                allowed=sorted(m.name for m in metrics.values() if m.applies_to(task.name)),
            )
    return Target(requirements, _objective(plan, task, metrics), metrics, bool(plan.require))


def _objective(plan: Plan, task: Task, metrics: Mapping[str, Metric]) -> Metric:
    wanted = plan.minimize or plan.maximize
    metric = find_metric(wanted or task.objective, metrics)
    if not metric.applies_to(task.name):
        allowed = sorted(m.name for m in metrics.values() if m.applies_to(task.name))
        raise RequirementError(f"{metric.name} has no meaning for {task.name}", got=wanted, allowed=allowed)
    verb = "minimize" if plan.minimize else "maximize"
    if wanted and (metric.direction == "lower") != bool(plan.minimize):
        other = "maximize" if plan.minimize else "minimize"
        raise RequirementError(
            f"of {metric.name}, {'less' if metric.direction == 'lower' else 'more'} is better",
            got=f"--{verb} {wanted}",
            allowed=f"--{other} {wanted}",
        )
    return metric


def _one_of(what: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        hint = registry.closest(str(value), allowed) or "choose one of these"
        raise BadInput(f"unknown {what}", got=value, allowed=allowed, next_step=hint)


assert set(_MINUTES) == set(get_args(Budget))
