"""`Question`: which methods it tries, which metrics it reads, how measurements become an answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tiku.core import registry
from tiku.core.method import Situation
from tiku.core.metric import Metric
from tiku.core.recipe import Recipe
from tiku.core.result import Answer, RequirementOutcome, Trial
from tiku.core.text import Text

__all__ = ["Evidence", "Proposal", "Question", "serves"]


@dataclass(frozen=True)
class Proposal:
    """A recipe on top of the base that a question wants measured. Higher `priority` runs first."""

    recipe: Recipe
    question: str
    priority: float = 0.0


@dataclass(frozen=True)
class Evidence:
    """All that `decide` may look at. `metrics` maps names to their definitions."""

    situation: Situation
    base: Trial
    trials: tuple[Trial, ...]  # the trials this question proposed
    requirements: tuple[RequirementOutcome, ...]
    metrics: Mapping[str, Metric]
    objective: str  # name of the metric to improve
    environment: Mapping[str, Any]
    not_run: tuple[Recipe, ...] = ()  # proposed, but the budget had no room
    others: tuple[Trial, ...] = ()  # every further trial of the exam


class Question(ABC):
    """A subclass in a file of its own, `tiku/questions/qNN_id.py`, exported as `QUESTION`."""

    id: ClassVar[str]
    number: ClassVar[int]
    title: ClassVar[Text]
    metrics: ClassVar[tuple[str, ...]]  # what it reads, the most telling first

    @abstractmethod
    def propose(self, situation: Situation) -> tuple[Proposal, ...]:
        """The recipes worth measuring, best first. Cheap; nothing is loaded."""

    @abstractmethod
    def decide(self, evidence: Evidence) -> Answer:
        """Pure: the same evidence gives the same answer."""


def serves(recipe: Recipe, question: str) -> bool:
    """Whether every step of a recipe (the base's left out) is a method of the question: then a join of
    them is among its recipes too."""
    return all(question in registry.get("methods", step.method).questions for step in recipe.steps)
