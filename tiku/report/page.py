"""What the report shows, in the order it shows it: every value is already text or a drawing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tiku.core import registry
from tiku.core.measured import Measured
from tiku.core.metric import Metric
from tiku.core.question import Question
from tiku.core.result import Answer, Interaction, RequirementOutcome, Result, Trial
from tiku.core.text import Text
from tiku.core.verdict import Verdict
from tiku.report.changes import Change, changes, title_of
from tiku.report.labels import Label, labels_of
from tiku.report.numbers import Shown, show_change, show_measured, show_value
from tiku.report.opportunities import Aside, Opportunity, objective_of, sort_out
from tiku.report.plots.candidates import candidate_plots, quality_of
from tiku.report.plots.evidence import exhibits
from tiku.report.plots.figure import Matrix, Plot, Table
from tiku.report.tiles import Tile, tile_of

__all__ = ["Cell", "Joined", "Page", "Requirement", "Row", "Section", "page_of"]

_NOT_ASKED = Answer("not measured", Text("This result holds no answer.", "此结果中没有答案。"))
_COLUMNS = 6


@dataclass(frozen=True)
class Cell:
    """One metric of one trial, with its verdict against the base."""

    shown: Shown | None
    change: Shown | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Row:
    """One trial in a table of evidence. `reason` stands in for the cells of one without numbers."""

    label: Label
    status: str
    cells: tuple[Cell, ...]
    reason: Text | None


@dataclass(frozen=True)
class Source:
    """How one number came about."""

    title: Text
    name: str
    measured: Measured
    shown: Shown


@dataclass(frozen=True)
class Section:
    """A question in full."""

    tile: Tile
    answer: Answer
    recommended: Label | None
    columns: tuple[tuple[str, Text], ...]
    rows: tuple[Row, ...]
    sources: tuple[Source, ...]
    drawings: tuple[Plot | Matrix, ...]
    tables: tuple[Table, ...]
    command: str


@dataclass(frozen=True)
class Requirement:
    """One line of the table of requirements."""

    outcome: RequirementOutcome
    title: Text
    observed: Shown | None
    threshold: str | None


@dataclass(frozen=True)
class Joined:
    """Methods joined: each one's own value (None where several configs bear the name), what adding
    their effects predicts, and what was observed."""

    parts: tuple[tuple[str, Shown | None], ...]
    title: Text
    base: Shown | None
    predicted: str
    observed: Shown


@dataclass(frozen=True)
class Page:
    """The whole report."""

    result: Result
    labels: Mapping[str, Label]
    objective: Text | None
    tiles: tuple[Tile, ...]
    requirements: tuple[Requirement, ...]
    compared_on: str
    compared: tuple[Change, ...]
    opportunities: tuple[Opportunity, ...]
    asides: tuple[Aside, ...]
    plots: tuple[Plot, ...]
    columns: tuple[tuple[str, Text], ...]
    candidates: tuple[Row, ...]
    sections: tuple[Section, ...]
    joined: tuple[Joined, ...]
    warnings: tuple[tuple[Label | None, Text], ...]


def page_of(result: Result, metrics: Mapping[str, Metric]) -> Page:
    """Arrange a result for readers. `metrics` gives titles and directions by name."""
    labels = labels_of(result)
    opportunities, asides = sort_out(result, labels, metrics)
    objective = objective_of(result)
    on, compared = _compared(result, metrics)
    columns = _main_columns(result)
    sections = tuple(_section(result, labels, metrics, *item) for item in _questions(result))
    return Page(
        result=result,
        labels=labels,
        objective=title_of(objective, metrics) if objective else None,
        tiles=tuple(section.tile for section in sections),
        requirements=tuple(_requirement(outcome, metrics) for outcome in result.requirements),
        compared_on=on,
        compared=compared,
        opportunities=opportunities,
        asides=asides,
        plots=candidate_plots(result, labels, metrics),
        columns=tuple((name, title_of(name, metrics)) for name in columns),
        candidates=tuple(_row(labels[t.id], t, columns) for t in result.trials if t.status == "done"),
        sections=sections,
        joined=tuple(_joined(one, result, labels, metrics) for one in result.interactions),
        warnings=tuple(_warnings(result, labels)),
    )


def _questions(result: Result) -> list[tuple[int, str, Text, tuple[str, ...]]]:
    """(number, id, title, metrics): the registered ones in order, then those only the result knows."""
    known: list[Question] = [registry.get("questions", name) for name in registry.names("questions")]
    found = [(q.number, q.id, q.title, q.metrics) for q in sorted(known, key=lambda q: q.number)]
    ids = {id for _, id, _, _ in found}
    others = [name for name in result.questions if name not in ids]
    return [*found, *((len(found) + n, name, Text(name, name), ()) for n, name in enumerate(others, start=1))]


def _compared(result: Result, metrics: Mapping[str, Metric]) -> tuple[str, tuple[Change, ...]]:
    """Base against chosen: on test where confirmed, else on validation."""
    confirmed = result.confirmation
    if confirmed is not None:
        return "test", changes(confirmed.base_metrics, confirmed.metrics, confirmed.against_base, metrics)
    if result.chosen is None:
        return "validation", ()
    chosen = result.trial(result.chosen)
    rows = changes(result.trial(result.base).metrics, chosen.metrics, chosen.against_base, metrics)
    return "validation", rows


def _requirement(outcome: RequirementOutcome, metrics: Mapping[str, Metric]) -> Requirement:
    name = outcome.expr.split()[0] if outcome.expr.split() else ""
    unit = metrics[name].unit if name in metrics else outcome.observed.unit if outcome.observed else "1"
    return Requirement(
        outcome,
        title_of(name, metrics),
        show_measured(outcome.observed) if outcome.observed else None,
        show_value(outcome.threshold, unit) if outcome.threshold is not None else None,
    )


def _warnings(result: Result, labels: Mapping[str, Label]) -> Iterator[tuple[Label | None, Text]]:
    """The exam's own, then those of the base and of the chosen recipe."""
    yield from ((None, warning) for warning in result.warnings)
    for id in dict.fromkeys(filter(None, (result.base, result.chosen))):
        yield from ((labels[id], warning) for warning in result.trial(id).warnings)


def _joined(
    one: Interaction, result: Result, labels: Mapping[str, Label], metrics: Mapping[str, Metric]
) -> Joined:
    def alone(name: str) -> Shown | None:
        found = [t for t in result.trials if str(labels[t.id]) == name and one.metric in t.metrics]
        return show_measured(found[0].metrics[one.metric]) if len(found) == 1 else None

    base = result.trial(result.base).metrics.get(one.metric)
    return Joined(
        tuple((name, alone(name)) for name in one.methods),
        title_of(one.metric, metrics),
        show_measured(base) if base else None,
        show_value(one.predicted, one.observed.unit),
        show_measured(one.observed),
    )


def _main_columns(result: Result) -> list[str]:
    """Quality, objective, the required metrics, then what else the base has."""
    have = result.trial(result.base).metrics
    required = (o.expr.split()[0] for o in result.requirements)
    named = [quality_of(result) or "", objective_of(result) or "", *required]
    return [name for name in dict.fromkeys([*named, *have]) if name in have][:_COLUMNS]


def _row(label: Label, trial: Trial, columns: list[str]) -> Row:
    cells = tuple(_cell(trial, name) for name in columns) if trial.status == "done" else ()
    return Row(label, trial.status, cells, trial.reason)


def _cell(trial: Trial, name: str) -> Cell:
    if name not in trial.metrics:
        return Cell(None)
    measured, comparison = trial.metrics[name], trial.against_base.get(name)
    if comparison is None:
        return Cell(show_measured(measured))
    return Cell(show_measured(measured), show_change(comparison, measured.unit), comparison.verdict)


def _section(
    result: Result,
    labels: Mapping[str, Label],
    metrics: Mapping[str, Metric],
    number: int,
    id: str,
    title: Text,
    reads: tuple[str, ...],
) -> Section:
    answer = result.questions.get(id, _NOT_ASKED)
    trials = [result.trial(trial) for trial in dict.fromkeys((result.base, *answer.evidence))]
    measured = bool(answer.evidence) or answer.verdict != "not measured"
    wanted = dict.fromkeys([answer.key_metric or "", *reads, quality_of(result) or ""])
    columns = [name for name in wanted if any(name in t.metrics for t in trials)][:_COLUMNS]
    shown = result.trial(answer.recommended or result.base)
    found = exhibits(id, result, labels) if measured else ()
    return Section(
        tile=tile_of(result, labels, metrics, (number, id, title), answer),
        answer=answer,
        recommended=labels[answer.recommended] if answer.recommended else None,
        columns=tuple((name, title_of(name, metrics)) for name in columns),
        rows=tuple(_row(labels[t.id], t, columns) for t in trials) if measured else (),
        sources=_sources(shown, columns, metrics) if measured else (),
        drawings=tuple(e for e in found if not isinstance(e, Table)),
        tables=tuple(e for e in found if isinstance(e, Table)),
        command=_command(result, id, answer),
    )


def _sources(trial: Trial, columns: list[str], metrics: Mapping[str, Metric]) -> tuple[Source, ...]:
    have = [(name, trial.metrics[name]) for name in columns if name in trial.metrics]
    return tuple(Source(title_of(name, metrics), name, m, show_measured(m)) for name, m in have)


def _command(result: Result, id: str, answer: Answer) -> str:
    if answer.recommended and (command := result.trial(answer.recommended).command):
        return command
    whole = str(result.plan.get("command", ""))
    if whole.startswith("tiku exam "):
        return f"tiku ask {id} {whole.removeprefix('tiku exam ')}"
    names = [part.get("name", "") for part in result.data.get("parts", ())] or [result.data.get("name", "")]
    return " ".join(["tiku", "ask", id, str(result.model.get("name")), *(f"--data {name}" for name in names)])
