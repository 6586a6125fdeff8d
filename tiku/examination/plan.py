"""`Plan`: everything the user decided, checked before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from tiku.core import registry
from tiku.core.errors import BadInput, RequirementError
from tiku.core.instrument import all_metrics
from tiku.core.metric import Metric
from tiku.core.protocol import BUDGETS, Budget, Protocol, protocol_for
from tiku.core.requirement import Requirement, find_metric, parse_requirement
from tiku.core.task import TASKS, Task

__all__ = ["Plan", "Target", "stated_objective", "target_for"]

_DEVICES = ("auto", "cpu", "cuda")
_MINUTES: dict[Budget, float] = {"quick": 5.0, "standard": 14.0, "thorough": 60.0}
# metrics that cost every recipe time, and are measured of all only when the exam decides on them
_ON_OWN_TEXT = ("generated_tokens_per_second", "energy_per_generated_token")


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
        _check_sources(self.model, self.data)
        _one_of("budget", self.budget, BUDGETS)
        _one_of("task", self.task, TASKS)
        _one_of("device", self.device.partition(":")[0], _DEVICES)
        _in_range("minutes", self.minutes, 0.001, 10_000)
        _in_range("threads", self.threads, 1, 1024)
        _in_range("seed", self.seed, 0, 2**31 - 1)
        if self.minimize and self.maximize:
            raise BadInput(
                "only one objective can be improved",
                got=f"{self.minimize} and {self.maximize}",
                allowed="--minimize or --maximize",
                next_step="turn one of them into a --require",
            )
        for question in self.questions:
            registry.target("questions", question)

    def seconds(self) -> float:
        """The time budget."""
        return 60.0 * (self.minutes if self.minutes is not None else _MINUTES[self.budget])

    def protocol(self) -> Protocol:
        """The measuring protocol of the budget."""
        made = protocol_for(self.budget, seed=self.seed, threads=self.threads, device=self.device)
        decided = " ".join((*self.require, self.minimize or "", self.maximize or ""))
        return replace(made, own_text=any(name in decided for name in _ON_OWN_TEXT))

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
    requirements = tuple(parse_requirement(text, metrics) for text in plan.require or (task.keep,))
    objective = stated_objective(plan, metrics) or find_metric(task.objective, metrics)
    for metric in (*(r.metric for r in requirements), objective):
        _check_meaning(metric, task, metrics)
    return Target(requirements, objective, metrics, bool(plan.require))


def stated_objective(plan: Plan, metrics: Mapping[str, Metric]) -> Metric | None:
    """The metric the user wants improved, in the direction that is better. Raises as `target_for`."""
    wanted = plan.minimize or plan.maximize
    if wanted is None:
        return None
    metric = find_metric(wanted, metrics)
    given, other = ("minimize", "maximize") if plan.minimize else ("maximize", "minimize")
    if (metric.direction == "lower") != bool(plan.minimize):
        raise RequirementError(
            f"of {metric.name}, {'less' if metric.direction == 'lower' else 'more'} is better",
            got=f"--{given} {wanted}",
            allowed=f"--{other} {wanted}",
            next_step=f"write --{other} {wanted}, or turn it into a --require",
        )
    return metric


def _check_sources(model: str, data: tuple[str, ...]) -> None:
    if not data:
        raise BadInput(
            "no data was given", allowed="--data PATH or --data sample:NAME", next_step="tiku samples"
        )
    if not all((model, *data)):
        raise BadInput(
            "the name of the model or of the data is empty",
            got=f"model {model!r}, data {', '.join(map(repr, data))}",
            allowed="a path, sample:NAME, or a hub id",
            next_step="check the variable that should hold it",
        )
    doubled = sorted({name for name in data if data.count(name) > 1})
    if doubled:
        raise BadInput(
            "the same data is given twice",
            got=", ".join(doubled),
            allowed="each dataset once",
            next_step="leave one of them out",
        )


def _check_meaning(metric: Metric, task: Task, metrics: Mapping[str, Metric]) -> None:
    if not metric.applies_to(task.name):
        raise RequirementError(
            f"{metric.name} has no meaning for {task.name}",
            got=metric.name,
            allowed=sorted(m.name for m in metrics.values() if m.applies_to(task.name)),
            next_step="choose one of these metrics",
        )


def _one_of(what: str, value: str | None, allowed: Iterable[str]) -> None:
    if value is not None and value not in allowed:
        hint = registry.closest(value, allowed) or "choose one of these"
        raise BadInput(f"there is no {what} of this name", got=value, allowed=allowed, next_step=hint)


def _in_range(what: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise BadInput(
            f"{what} is out of range",
            got=value,
            allowed=f"{low:g} … {high:,.0f}",
            next_step=f"give --{what} a number in this range",
        )


assert set(_MINUTES) == set(get_args(Budget))
