"""What the progress display says, against a clock that the test moves."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from tiku.core.text import Text
from tiku.examination.timeline import Timeline, Update


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shown() -> list[Update]:
    return []


@pytest.fixture
def timeline(clock: Clock, shown: list[Update]) -> Timeline:
    return Timeline(600.0, shown.append, clock=clock)


def test_nothing_is_promised_while_nothing_is_known(timeline: Timeline, shown: list[Update]) -> None:
    timeline.start("prepare")
    assert shown[-1] == Update("prepare", "", 0.0, None)


def test_the_time_left_is_the_sum_of_what_lies_ahead_and_runs_down(timeline: Timeline, clock: Clock) -> None:
    for key, seconds in (("base", 100.0), ("a", 30.0), ("b", 30.0)):
        timeline.expect(key, seconds)
    timeline.start("base")
    assert timeline.left() == 160.0
    clock.now += 40.0
    assert timeline.left() == 120.0
    clock.now += 60.0
    timeline.finish()
    timeline.drop("b")
    assert timeline.left() == 30.0


def test_what_does_not_fit_into_the_budget_is_not_waited_for(timeline: Timeline, clock: Clock) -> None:
    for number in range(100):
        timeline.expect(f"trial {number}", 30.0)
    assert timeline.left() == 600.0
    clock.now += 200.0
    assert timeline.left() == 400.0


def test_the_running_part_is_not_cut_by_the_budget(timeline: Timeline) -> None:
    timeline.expect("base", 1000.0)
    timeline.expect("trial", 30.0)
    timeline.start("base")
    assert timeline.left() == 1000.0


@pytest.mark.parametrize("expected", [10.0, 100.0, 1000.0])
def test_an_even_pace_corrects_a_wrong_expectation(timeline: Timeline, clock: Clock, expected: float) -> None:
    """A training of 300 s: by its middle the time left is right to a quarter, at nine tenths to 5 s."""
    timeline.budget = 1e9
    timeline.expect("base", expected + 20.0)
    timeline.start("base")
    found = {}
    for tenth in range(11):
        timeline.fraction("build", tenth / 10, 20.0, "")
        left = timeline.left()
        assert left is not None
        found[tenth] = left - 20.0
        clock.now += 30.0
    assert found[0] == pytest.approx(expected)
    assert found[5] == pytest.approx(150.0, rel=0.25)
    assert found[9] == pytest.approx(30.0, abs=5.0)
    assert found[10] == pytest.approx(0.0, abs=1e-6)


def test_a_part_that_overruns_is_never_said_to_be_over(timeline: Timeline, clock: Clock) -> None:
    timeline.expect("trial", 10.0)
    timeline.start("trial")
    clock.now += 100.0
    left = timeline.left()
    assert left is not None and left > 0.0


def test_a_new_stage_is_timed_on_its_own(timeline: Timeline, clock: Clock) -> None:
    """Building ran 60 s; measuring, half done after 10 s, does not inherit its pace."""
    timeline.expect("trial", 80.0)
    timeline.start("trial")
    timeline.fraction("build", 0.0, 20.0, "")
    clock.now += 60.0
    timeline.fraction("build", 1.0, 20.0, "")
    timeline.fraction("measure", 0.0, 0.0, "")
    assert timeline.left() == pytest.approx(20.0)
    clock.now += 10.0
    timeline.fraction("measure", 0.5, 0.0, "")
    assert timeline.left() == pytest.approx(10.0)


def test_a_note_belongs_to_its_part(timeline: Timeline, shown: list[Update]) -> None:
    timeline.expect("base", 10.0)
    timeline.start("base")
    timeline.fraction("build", 0.5, 0.0, "loss 0.3")
    assert shown[-1].note == "loss 0.3"
    timeline.remark(Text("a warning", "警告"))
    assert shown[-1].remark == Text("a warning", "警告")
    timeline.finish()
    timeline.start("trial")
    assert shown[-1].note == ""


def test_the_display_moves_while_the_work_says_nothing() -> None:
    """Two and a half seconds of silence: no gap of two seconds, and the elapsed time grows."""
    seen: list[tuple[float, float]] = []
    timeline = Timeline(600.0, lambda update: seen.append((time.monotonic(), update.elapsed_seconds)))
    timeline.expect("slow", 60.0)
    with timeline.ticking():
        timeline.start("slow")
        time.sleep(2.5)
    told = [elapsed for _, elapsed in seen]
    assert told == sorted(told) and told[-1] > 1.5
    assert max(b - a for (a, _), (b, _) in pairwise(seen)) < 2.0
    count = len(seen)
    time.sleep(0.7)
    assert len(seen) == count  # and it stops with the block


def test_a_reader_that_went_away_does_not_disturb_the_work() -> None:
    def closed(update: Update) -> None:
        if update.elapsed_seconds > 0.1:
            raise BrokenPipeError

    timeline, worked = Timeline(600.0, closed), False
    with timeline.ticking():
        time.sleep(0.8)
        worked = True
    assert worked
