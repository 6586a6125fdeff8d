"""The ten tiles: each question's verdict, key number and target at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tiku.core.metric import Metric
from tiku.core.result import Answer, RequirementOutcome, Result
from tiku.core.text import Text
from tiku.report.changes import title_of
from tiku.report.labels import Label
from tiku.report.numbers import Shown, show_change, show_measured

__all__ = ["Tile", "tile_of"]


@dataclass(frozen=True)
class Tile:
    """A question at a glance."""

    number: int
    id: str
    title: Text
    verdict: str
    metric: Text | None
    shown: Shown | None
    change: Shown | None
    targets: tuple[RequirementOutcome, ...]
    label: Label | None
    on: str


def tile_of(
    result: Result,
    labels: Mapping[str, Label],
    metrics: Mapping[str, Metric],
    identity: tuple[int, str, Text],
    answer: Answer,
) -> Tile:
    """The tile of a question; `identity` is its number, id and title."""
    number, id, title = identity
    name = answer.key_metric or ""
    targets = tuple(o for o in result.requirements if name and o.expr.split()[0] == name)
    judged = next((o for o in targets if o.observed is not None), None)
    # A target is judged on what would ship, so that is the number that stands beside it.
    trial = result.trial(result.chosen if judged and result.chosen else answer.recommended or result.base)
    measured, comparison, on = trial.metrics.get(name), trial.against_base.get(name), "validation"
    confirmed = result.confirmation
    if confirmed is not None and confirmed.trial == trial.id and name in confirmed.metrics:
        measured, comparison, on = confirmed.metrics[name], confirmed.against_base.get(name), "test"
    return Tile(
        number, id, title, answer.verdict,
        title_of(name, metrics) if measured else None,
        show_measured(measured) if measured else None,
        show_change(comparison, measured.unit) if comparison and measured else None,
        targets,
        labels[trial.id] if measured else None,
        on,
    )  # fmt: skip
