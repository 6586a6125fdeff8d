"""The records an exam writes and others read: trials, answers, the result (schema `tiku.result/1`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tiku.core.measured import Measured
from tiku.core.recipe import Recipe
from tiku.core.text import Text
from tiku.core.verdict import Comparison

__all__ = [
    "SCHEMA",
    "Answer",
    "AnswerVerdict",
    "Confirmation",
    "Cost",
    "Decision",
    "Interaction",
    "RequirementOutcome",
    "Result",
    "Status",
    "Trial",
]

SCHEMA = "tiku.result/1"
Status = Literal["done", "refused", "failed", "timeout", "out of memory"]
AnswerVerdict = Literal["pass", "fail", "inconclusive", "informative", "not measured"]
Decision = Literal["ship", "do not ship", "cannot tell"]


@dataclass(frozen=True)
class Cost:
    """What a trial cost. `joules` is None where energy has no source."""

    seconds: float
    joules: float | None
    peak_bytes: int


@dataclass(frozen=True)
class Trial:
    """One recipe, built and measured in a process of its own. `reason` is set unless `done`.

    `details` holds the instruments' JSON values for plots, by instrument name.
    """

    id: str
    parent: str | None
    recipe: Recipe
    status: Status
    reason: Text | None = None
    metrics: Mapping[str, Measured] = field(default_factory=dict)
    against_base: Mapping[str, Comparison] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[Text, ...] = ()
    cost: Cost | None = None
    command: str = ""  # repeats this trial


@dataclass(frozen=True)
class Answer:
    """A question's verdict, recommendation, evidence and caveats."""

    verdict: AnswerVerdict
    answer: Text
    recommended: str | None = None  # trial id
    evidence: tuple[str, ...] = ()  # trial ids
    caveats: tuple[Text, ...] = ()
    key_metric: str | None = None  # what the report's tile shows


@dataclass(frozen=True)
class RequirementOutcome:
    """A requirement and what was observed. `met` is None when it cannot be told."""

    expr: str
    met: bool | None
    observed: Measured | None
    on: Literal["test", "validation"]
    threshold: float | None = None
    reason: Text | None = None


@dataclass(frozen=True)
class Interaction:
    """Methods joined: what adding their single effects predicts, and what was observed."""

    methods: tuple[str, ...]
    predicted: float
    observed: Measured
    metric: str


@dataclass(frozen=True)
class Confirmation:
    """The chosen trial and the base on the untouched test split, and the artefact's own check."""

    trial: str
    metrics: Mapping[str, Measured]
    base_metrics: Mapping[str, Measured]
    against_base: Mapping[str, Comparison]
    artefact_check: Mapping[str, Any]  # max_abs_diff, hashes_ok
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """Everything an exam found; `result.json` is this, written and read through the JSON Schema."""

    tiku: str
    run_id: str
    started: str
    finished: str
    environment: Mapping[str, Any]
    model: Mapping[str, Any]
    data: Mapping[str, Any]  # name, sha256, splits; `parts` holds the same per dataset when there are several
    plan: Mapping[str, Any]
    base: str
    chosen: str | None
    decision: Decision
    reasons: tuple[Text, ...]
    requirements: tuple[RequirementOutcome, ...]
    questions: Mapping[str, Answer]
    trials: tuple[Trial, ...]
    interactions: tuple[Interaction, ...] = ()
    confirmation: Confirmation | None = None
    warnings: tuple[Text, ...] = ()
    errors: tuple[str, ...] = ()
    schema: str = SCHEMA

    def trial(self, id: str) -> Trial:
        """The trial with this id. Raises `KeyError`."""
        return next(t for t in self.trials if t.id == id)
