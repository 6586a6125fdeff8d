"""What a trial is called in a report: its number, its own steps and its role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tiku.core.recipe import Step
from tiku.core.result import Result, Trial

__all__ = ["Label", "labels_of"]

Role = Literal["base", "chosen", ""]


@dataclass(frozen=True)
class Label:
    """`number` counts the trials from 0, the base. `steps` are (method, config as text)."""

    id: str
    number: int
    steps: tuple[tuple[str, str], ...]
    role: Role

    def __str__(self) -> str:
        return " + ".join(name for name, _ in self.steps) or "base"


def labels_of(result: Result) -> dict[str, Label]:
    """Trial id -> label. Steps that the base has too are left out: every trial starts from the base."""
    base = result.trial(result.base)
    others = [trial for trial in result.trials if trial.id != base.id]
    return {trial.id: _label(result, base, trial, number) for number, trial in enumerate([base, *others])}


def _label(result: Result, base: Trial, trial: Trial, number: int) -> Label:
    own = trial.recipe.steps
    if trial.id != base.id:
        own = tuple(step for step in own if step not in base.recipe.steps)
    role: Role = "base" if trial.id == base.id else "chosen" if trial.id == result.chosen else ""
    return Label(trial.id, number, tuple((step.method, _config(step)) for step in own), role)


def _config(step: Step) -> str:
    return ", ".join(f"{key}={_scalar(value)}" for key, value in step.config.items())


def _scalar(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}={_scalar(v)}" for key, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_scalar, value)) + "]"
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return str(value)
