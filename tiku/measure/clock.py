"""Interleaved paired timing: base, candidate, base, candidate … with an A/A control in the same loop.

Two models are never timed one after the other: clock frequency, neighbours and temperature drift by
more than most methods gain. They take turns, in an order drawn per turn, on the same work; the ratio
of a pair cancels what both felt. The reference is also timed against itself: where that ratio is
off, no ratio can be believed (`TooNoisy`).
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tiku.core.errors import TooNoisy
from tiku.core.method import Progress, silent

__all__ = ["Clock", "Gauge", "PairedTimes", "Schedule", "Work", "synchronise", "time_pairs", "warm_up"]

Clock = Callable[[], int]  # nanoseconds, monotonic
Work = Callable[[int], object]  # does the work of pair i
Side = Literal["candidate", "base", "control"]
FloatArray = NDArray[np.float64]


class Gauge(Protocol):
    """Something else to read around each piece of work (energy)."""

    def read(self) -> Any:
        """The state now."""

    def used(self, before: Any, after: Any) -> Sequence[float]:
        """What was used between two states, as a vector of fixed length."""


@dataclass(frozen=True)
class Schedule:
    """How the turns are laid out.

    `pairs` of work, in turns of `block` consecutive ones; `refresh` runs one untimed piece after
    each change of model, so that neither pays for the caches the other filled. The reference (the
    base, or the candidate when it is the base) is timed a second time in every `control_every`-th
    turn; with 0, its odd turns are the control of its even ones, which suits work that is the same
    each time.
    """

    pairs: int
    seed: int = 0
    max_aa: float = 0.10
    block: int = 1
    refresh: bool = False
    control_every: int = 1


@dataclass(frozen=True)
class PairedTimes:
    """Raw times in seconds, shape (pairs,), paired by position; gauge readings have shape (pairs, k).

    `aa` is the relative deviation of the A/A control: median(control / reference) - 1.
    """

    candidate_s: FloatArray
    base_s: FloatArray | None
    aa: float
    candidate_used: FloatArray | None = None
    base_used: FloatArray | None = None

    @property
    def ratios(self) -> FloatArray:
        """candidate / base per pair, shape (pairs,). Raises `ValueError` without a base."""
        if self.base_s is None:
            raise ValueError("the base itself was timed: there is nothing to compare with")
        return self.candidate_s / self.base_s


@dataclass
class _Tape:
    """The times of one side, by pair index."""

    seconds: dict[int, float] = field(default_factory=dict)
    used: dict[int, Sequence[float]] = field(default_factory=dict)

    def times(self) -> FloatArray:
        return np.array([self.seconds[i] for i in sorted(self.seconds)])

    def gauged(self) -> FloatArray | None:
        return np.array([self.used[i] for i in sorted(self.used)]) if self.used else None


def synchronise() -> None:
    """Wait for the accelerator, when this process uses one. Imports nothing."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def warm_up(
    work: Callable[[], object],
    *,
    clock: Clock = time.perf_counter_ns,
    tolerance: float = 0.1,
    least: int = 2,
    most: int = 10,
) -> float:
    """Run until a run is within `tolerance` of the fastest before it; seconds of the last run."""
    fastest = float("inf")
    for done in range(1, most + 1):
        start = clock()
        work()
        synchronise()
        seconds = (clock() - start) * 1e-9
        if done >= least and seconds <= fastest * (1 + tolerance):
            break
        fastest = min(fastest, seconds)
    return seconds


def time_pairs(
    candidate: Work,
    base: Work | None,
    schedule: Schedule,
    *,
    clock: Clock = time.perf_counter_ns,
    gauge: Gauge | None = None,
    progress: Progress = silent,
) -> PairedTimes:
    """Time `candidate(i)` and `base(i)` for i = 0 … pairs-1, taking turns. Warm both up first.

    `base` None: the candidate is the base, and only its times and its control are taken. Garbage
    collection is off while the loop runs. Raises `TooNoisy` when the control is off by more than `max_aa`.
    """
    works: dict[Side, Work] = {"candidate": candidate}
    if base is not None:
        works["base"] = base
    with _collector_off():
        tapes = _Loop(works, schedule, clock, gauge, progress).run()
    aa = _control_deviation(tapes["candidate" if base is None else "base"], tapes["control"], schedule)
    if abs(aa) > schedule.max_aa:
        raise TooNoisy(
            "timing is too noisy on this machine now: the same model against itself differs",
            got=f"{aa:+.1%}",
            allowed=f"up to ±{schedule.max_aa:.0%}",
            next_step="stop other work on this machine and run again",
        )
    ours, theirs = tapes["candidate"], None if base is None else tapes["base"]
    return PairedTimes(
        ours.times(),
        None if theirs is None else theirs.times(),
        aa,
        ours.gauged(),
        None if theirs is None else theirs.gauged(),
    )


@dataclass(frozen=True)
class _Loop:
    works: dict[Side, Work]
    schedule: Schedule
    clock: Clock
    gauge: Gauge | None
    progress: Progress

    def run(self) -> dict[Side, _Tape]:
        rng = np.random.default_rng(self.schedule.seed)
        tapes: dict[Side, _Tape] = {"candidate": _Tape(), "base": _Tape(), "control": _Tape()}
        plan = self.schedule
        for turn, first in enumerate(range(0, plan.pairs, plan.block)):
            self.progress(first, plan.pairs, "timing")
            sides: list[Side] = list(self.works)
            if plan.control_every and turn % plan.control_every == 0:
                sides.append("control")
            for position in rng.permutation(len(sides)):
                self._turn(sides[position], range(first, min(first + plan.block, plan.pairs)), tapes)
        return tapes

    def _turn(self, side: Side, pairs: range, tapes: dict[Side, _Tape]) -> None:
        reference: Side = "base" if "base" in self.works else "candidate"
        work, tape = self.works[reference if side == "control" else side], tapes[side]
        if self.schedule.refresh:
            work(pairs[0])
        synchronise()
        for pair in pairs:
            before = None if self.gauge is None else self.gauge.read()
            start = self.clock()
            work(pair)
            synchronise()
            tape.seconds[pair] = (self.clock() - start) * 1e-9
            if self.gauge is not None:
                tape.used[pair] = self.gauge.used(before, self.gauge.read())


def _control_deviation(reference: _Tape, control: _Tape, schedule: Schedule) -> float:
    if schedule.control_every:
        ratios = [seconds / reference.seconds[pair] for pair, seconds in control.seconds.items()]
        return float(np.median(ratios)) - 1
    times = reference.times()
    if times.size < 2:
        raise ValueError("an A/A control from alternate turns needs two pairs or more")
    return float(np.median(times[1::2]) / np.median(times[0::2])) - 1


@contextmanager
def _collector_off() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
