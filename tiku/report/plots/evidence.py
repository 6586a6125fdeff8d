"""Which drawings and tables a question shows, read from the details that instruments left.

An instrument that did not run shows nothing; details laid out in another way than the readers know
are named in a note (the raw values stay in `result.json`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tiku.core.result import Result, Trial
from tiku.core.text import Text
from tiku.report.labels import Label
from tiku.report.plots import cost, language, quality, scaling, timing, training
from tiku.report.plots.figure import Exhibit, Look, Table

__all__ = ["Exhibit", "exhibits"]

Reader = Callable[[Look], Exhibit | None]

# question -> (instrument, reader), in reading order
_READERS: dict[str, tuple[tuple[str, Reader], ...]] = {
    "evaluation": (
        ("classification_quality", quality.roc),
        ("classification_quality", quality.reliability),
        ("classification_quality", quality.confusion),
        ("perplexity", language.by_context),
        ("multiple_choice", quality.reliability),
        ("build", training.learning_curve),
        ("build", training.accuracy_curve),
        ("classification_quality", quality.per_class),
        ("classification_quality", quality.slices),
        ("classification_quality", quality.worst_examples),
        ("perplexity", language.text_protocol),
        ("multiple_choice", language.choice_protocol),
        ("perplexity", language.documents),
        ("perplexity", language.hardest_passages),
        ("multiple_choice", quality.worst_examples),
    ),
    "inference": (
        ("latency", timing.latency),
        ("throughput_and_energy", cost.throughput),
        ("generation", timing.steps),
        ("scaling", scaling.passes),
        ("classification_quality", quality.flips),
        ("multiple_choice", quality.flips),
    ),
    "memory": (("peak_memory", cost.memory),),
    "energy": (("throughput_and_energy", cost.energy),),
}


def exhibits(question: str, result: Result, labels: Mapping[str, Label]) -> tuple[Exhibit, ...]:
    """The exhibits of a question, of the recommended trial or else the base."""
    answer = result.questions.get(question)
    trial = result.trial(answer.recommended if answer and answer.recommended else result.base)
    base, number = result.trial(result.base), labels[trial.id].number
    return tuple(
        exhibit
        for place, (instrument, reader) in enumerate(_READERS.get(question, ()))
        if (exhibit := _read(reader, f"{question}{place}", number, instrument, trial, base)) is not None
    )


def _read(
    reader: Reader, key: str, number: int, instrument: str, trial: Trial, base: Trial
) -> Exhibit | None:
    details, theirs = trial.details.get(instrument), base.details.get(instrument)
    if not isinstance(details, Mapping):
        return None
    look = Look(key, number, details, theirs if isinstance(theirs, Mapping) else None)
    try:
        return reader(look)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"
        return Table(
            Text(f"Details of {instrument}", f"{instrument} 的明细"),
            (),
            (),
            note=Text(
                f"These details are not laid out as this version draws them ({problem}).",
                f"这些明细的结构与本版本的绘图方式不符（{problem}）。",
            ),
        )
