"""Which of a few settings is fastest: interleaved rounds, and a winner only when it keeps winning."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tiku.artefact import OpenedArtefact, open_artefact, write
from tiku.core.errors import CannotMeasure
from tiku.core.method import Context, Progress
from tiku.core.recipe import Recipe
from tiku.core.subject import Subject

__all__ = ["Race", "opened_trial", "race", "with_serve_fact", "work_texts"]

_GAIN = 0.98  # a challenger must save 2 % in the median …
_WON = 0.75  # … and win three rounds of four, or the incumbent stays


@dataclass(frozen=True)
class Race:
    """`seconds` holds the time of every round by setting; `winner` is the setting to use."""

    winner: int
    seconds: Mapping[int, Sequence[float]]

    def facts(self) -> dict[str, Any]:
        """JSON values: the winner, rounds, and median seconds by setting."""
        medians = {str(setting): statistics.median(times) for setting, times in self.seconds.items()}
        rounds = len(next(iter(self.seconds.values())))
        return {"chosen": self.winner, "rounds": rounds, "median_seconds": medians}


def race(
    run: Callable[[int], object],
    settings: Sequence[int],
    incumbent: int,
    rounds: int,
    progress: Progress,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Race:
    """Time `run(setting)` in rounds that alternate the settings, after one warm-up of each.

    Every other round goes backwards, so that a machine that slows down or speeds up favours none.
    """
    for setting in settings:
        run(setting)
    seconds: dict[int, list[float]] = {setting: [] for setting in settings}
    for number in range(rounds):
        progress(number, rounds, "timing settings")
        for setting in settings if number % 2 == 0 else reversed(settings):
            started = clock()
            run(setting)
            seconds[setting].append(clock() - started)
    return Race(_winner(seconds, incumbent), seconds)


def _winner(seconds: Mapping[int, Sequence[float]], incumbent: int) -> int:
    def ratio(setting: int) -> float:
        pairs = zip(seconds[setting], seconds[incumbent], strict=True)
        return statistics.median(mine / theirs for mine, theirs in pairs)

    def keeps_winning(setting: int) -> bool:
        pairs = list(zip(seconds[setting], seconds[incumbent], strict=True))
        return sum(mine < theirs for mine, theirs in pairs) >= _WON * len(pairs)

    challengers = [s for s in seconds if s != incumbent and ratio(s) <= _GAIN and keeps_winning(s)]
    return min(challengers, key=ratio, default=incumbent)


@contextmanager
def opened_trial(
    subject: Subject, context: Context, threads: Sequence[int]
) -> Iterator[list[OpenedArtefact]]:
    """The subject built in its runtime inside the work folder, opened once per thread count."""
    folder = context.workdir / "serving"
    write(subject, folder, recipe=Recipe(), examples=work_texts(context, 8))
    opened = [
        open_artefact(folder, threads=count, device=context.protocol.device, check_hashes=False)
        for count in threads
    ]
    try:
        yield opened
    finally:
        for one in opened:
            one.close()


def work_texts(context: Context, count: int) -> list[Any]:
    """The first calibration inputs, the same for every setting. Raises `CannotMeasure` for none."""
    texts = list(context.splits[0].calibration.inputs()[:count])
    if not texts:
        raise CannotMeasure(
            "serving is tuned on calibration examples, and there are none",
            next_step="give more data",
            got="0 calibration examples",
        )
    return texts


def with_serve_fact(subject: Subject, name: str, found: Race, **serve: Any) -> Subject:
    """The subject with changed serving settings and the race kept as a fact."""
    facts = {**subject.facts, name: found.facts()}
    return replace(subject, serve=replace(subject.serve, **serve), facts=facts)
