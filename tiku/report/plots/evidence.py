"""Which drawings and tables a question shows, read from the details that instruments left.

An instrument that did not run shows nothing; details laid out in another way than the readers know
are named in a note (the raw values stay in `result.json`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tiku.core.result import Result, Trial
from tiku.core.text import Text
from tiku.report.plots import timing
from tiku.report.plots.figure import Exhibit, Table

__all__ = ["Exhibit", "exhibits"]

Reader = Callable[[str, Mapping[str, Any]], Exhibit | None]

# question -> (instrument, reader), in reading order
_READERS: dict[str, tuple[tuple[str, Reader], ...]] = {
    "inference": (
        ("latency", timing.latency),
        ("generation", timing.steps),
    ),
}


def exhibits(question: str, result: Result) -> tuple[Exhibit, ...]:
    """The exhibits of a question, of the recommended trial or else the base."""
    answer = result.questions.get(question)
    trial = result.trial(answer.recommended if answer and answer.recommended else result.base)
    return tuple(
        exhibit
        for number, (instrument, reader) in enumerate(_READERS.get(question, ()))
        if (exhibit := _read(reader, f"{question}{number}", trial, instrument)) is not None
    )


def _read(reader: Reader, key: str, trial: Trial, instrument: str) -> Exhibit | None:
    details = trial.details.get(instrument)
    if not isinstance(details, Mapping):
        return None
    try:
        return reader(key, details)
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
