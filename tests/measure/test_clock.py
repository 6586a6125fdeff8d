"""The interleaved clock on made-up time: what it must recover, what it must refuse."""

from __future__ import annotations

import gc
from collections.abc import Callable

import numpy as np
import pytest

from tiku.core.errors import TooNoisy
from tiku.measure.clock import Schedule, time_pairs, warm_up


class Stage:
    """A clock that only the works move; each work's cost may depend on the pair and on the time so far."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.log: list[tuple[str, int]] = []

    def clock(self) -> int:
        return self.now_ns

    def work(self, name: str, seconds: Callable[[int, float], float]) -> Callable[[int], None]:
        def run(pair: int) -> None:
            self.log.append((name, pair))
            self.now_ns += round(seconds(pair, self.now_ns * 1e-9) * 1e9)

        return run


def test_a_known_ratio_of_every_pair_is_recovered_exactly() -> None:
    stage, sizes = Stage(), (1, 2, 5, 3, 8, 1, 1, 4)
    base = stage.work("base", lambda i, _: 0.010 * sizes[i])
    candidate = stage.work("candidate", lambda i, _: 0.004 * sizes[i])
    times = time_pairs(candidate, base, Schedule(len(sizes)), clock=stage.clock)
    assert times.ratios == pytest.approx(np.full(len(sizes), 0.4), abs=1e-9)
    assert times.base_s == pytest.approx([0.010 * n for n in sizes], abs=1e-9)
    assert times.aa == pytest.approx(0, abs=1e-9)


def test_every_pair_is_done_once_by_each_side_and_by_the_control() -> None:
    stage = Stage()
    works = [stage.work(name, lambda i, _: 1.0) for name in ("candidate", "base")]
    time_pairs(*works, Schedule(10, block=4, control_every=2), clock=stage.clock)
    counts = {entry: stage.log.count(entry) for entry in stage.log}
    assert all(counts["candidate", i] == 1 for i in range(10))
    # blocks 0 (0-3) and 2 (8, 9) carry the control: the base does their work twice
    assert [counts["base", i] for i in range(10)] == [2, 2, 2, 2, 1, 1, 1, 1, 2, 2]


def test_the_sides_take_turns_in_an_order_that_is_drawn_anew_and_repeats_by_seed() -> None:
    def first_of_each_turn(seed: int) -> str:
        stage = Stage()
        works = [stage.work(name, lambda i, _: 1.0) for name in ("candidate", "base")]
        time_pairs(*works, Schedule(40, seed=seed, control_every=0), clock=stage.clock)
        turns = [stage.log[i : i + 2] for i in range(0, 80, 2)]
        assert all({name for name, _ in turn} == {"candidate", "base"} for turn in turns)
        assert all(turn[0][1] == turn[1][1] == i for i, turn in enumerate(turns))
        return "".join(turn[0][0][0] for turn in turns)

    order = first_of_each_turn(0)
    assert 8 < order.count("c") < 32
    assert order == first_of_each_turn(0) != first_of_each_turn(1)


def test_a_block_is_run_without_a_break_and_refreshed_with_an_untimed_piece() -> None:
    stage, cold = Stage(), {"last": ""}

    def cost(name: str) -> Callable[[int, float], float]:
        def seconds(pair: int, _: float) -> float:
            changed, cold["last"] = cold["last"] != name, name
            return 1.0 if changed else 0.1  # the first piece after a change of model pays for cold caches

        return seconds

    works = [stage.work(name, cost(name)) for name in ("candidate", "base")]
    times = time_pairs(*works, Schedule(12, block=4, refresh=True, control_every=3), clock=stage.clock)
    assert times.candidate_s == pytest.approx(np.full(12, 0.1), abs=1e-9)
    assert times.base_s == pytest.approx(np.full(12, 0.1), abs=1e-9)


def test_a_drift_of_the_machine_cancels_in_pairs_but_not_between_two_runs() -> None:
    def slower_and_slower(seconds: float) -> Callable[[int, float], float]:
        return lambda i, now: seconds * (1 + now / 20)  # a machine that heats up while it works

    stage = Stage()
    candidate = stage.work("candidate", slower_and_slower(0.08))
    base = stage.work("base", slower_and_slower(0.10))
    paired = time_pairs(candidate, base, Schedule(60), clock=stage.clock)
    assert np.exp(np.log(paired.ratios).mean()) == pytest.approx(0.8, rel=0.02)

    one_after_the_other = Stage()
    first = time_pairs(
        one_after_the_other.work("base", slower_and_slower(0.10)),
        None,
        Schedule(60),
        clock=one_after_the_other.clock,
    )
    second = time_pairs(
        one_after_the_other.work("candidate", slower_and_slower(0.08)), None, Schedule(60),
        clock=one_after_the_other.clock,
    )  # fmt: skip
    assert second.candidate_s.mean() / first.candidate_s.mean() > 1.2  # the faster model seems slower


@pytest.mark.parametrize("control_every", [0, 1])
def test_a_reference_that_differs_from_itself_is_too_noisy(control_every: int) -> None:
    stage, seen = Stage(), {"runs": 0}

    def every_second_run_slower(pair: int, _: float) -> float:
        seen["runs"] += 1
        return 1.0 if seen["runs"] % 2 else 1.3

    alone = stage.work("base", every_second_run_slower)
    with pytest.raises(TooNoisy) as caught:
        # one side only: reference and control (or odd and even turns) see different speeds
        time_pairs(alone, None, Schedule(40, seed=3, control_every=0), clock=stage.clock)
    assert "30" in caught.value.parts()["got"] and caught.value.exit_code == 3
    quiet = Stage()
    steady = quiet.work("base", lambda i, _: 1.0)
    assert time_pairs(steady, None, Schedule(40, control_every=control_every), clock=quiet.clock).aa == 0


def test_a_control_that_is_slower_by_more_than_allowed_is_refused_and_by_less_is_reported() -> None:
    def run(slow: float) -> float:
        stage = Stage()
        seen: set[int] = set()

        def second_time_slower(pair: int, _: float) -> float:
            again = pair in seen
            seen.add(pair)
            return slow if again else 1.0

        base = stage.work("base", second_time_slower)
        return time_pairs(
            stage.work("candidate", lambda i, _: 0.5), base, Schedule(30, max_aa=0.10), clock=stage.clock
        ).aa

    # whichever of base and control comes second is the slower: the median stays at 1 only by chance
    assert abs(run(1.05)) <= 0.05 + 1e-9
    with pytest.raises(TooNoisy, match="itself"):
        run(1.5)


def test_the_base_alone_has_times_and_no_ratio() -> None:
    stage = Stage()
    times = time_pairs(stage.work("base", lambda i, _: 0.5), None, Schedule(4), clock=stage.clock)
    assert times.candidate_s == pytest.approx([0.5] * 4) and times.base_s is None
    with pytest.raises(ValueError, match="nothing to compare"):
        _ = times.ratios


def test_one_turn_cannot_be_its_own_control() -> None:
    stage = Stage()
    with pytest.raises(ValueError, match="two pairs"):
        time_pairs(
            stage.work("base", lambda i, _: 1.0), None, Schedule(1, control_every=0), clock=stage.clock
        )


class Meter:
    """A gauge that counts one joule per second of the stage's time."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def read(self) -> float:
        return self._stage.now_ns * 1e-9

    def used(self, before: float, after: float) -> tuple[float, float]:
        return after - before, 2 * (after - before)


def test_a_gauge_is_read_around_each_piece_of_work() -> None:
    stage = Stage()
    times = time_pairs(
        stage.work("candidate", lambda i, _: 0.1 * (i + 1)), stage.work("base", lambda i, _: 1.0),
        Schedule(3, refresh=True), clock=stage.clock, gauge=Meter(stage),
    )  # fmt: skip
    assert times.candidate_used == pytest.approx(np.array([[0.1, 0.2], [0.2, 0.4], [0.3, 0.6]]))
    assert times.base_used == pytest.approx(np.array([[1.0, 2.0]] * 3))


def test_the_garbage_collector_rests_while_the_clock_runs_and_wakes_even_after_a_failure() -> None:
    def fails(pair: int) -> None:
        assert not gc.isenabled()
        raise RuntimeError("a model that breaks")

    assert gc.isenabled()
    with pytest.raises(RuntimeError, match="breaks"):
        time_pairs(fails, None, Schedule(2))
    assert gc.isenabled()


def test_warming_up_ends_when_runs_stop_getting_faster_and_in_any_case_after_the_most() -> None:
    def runs(costs: list[float], **limits: int) -> tuple[int, float]:
        stage = Stage()
        left = iter(costs)

        def work() -> None:
            stage.log.append(("run", 0))
            stage.now_ns += round(next(left) * 1e9)

        last = warm_up(work, clock=stage.clock, **limits)
        return len(stage.log), last

    assert runs([1.0, 1.0, 1.0]) == (2, pytest.approx(1.0))
    # 5 and 4.6 seconds are within a tenth of the fastest before them only from the second on
    assert runs([9.0, 3.0, 1.0, 0.9, 0.9]) == (2, pytest.approx(3.0))
    assert runs([1.0, 2.0, 2.0, 1.05]) == (4, pytest.approx(1.05))
    assert runs([float(2**i) for i in range(20)], most=6) == (6, pytest.approx(32.0))


def test_progress_is_told_before_each_turn() -> None:
    stage, told = Stage(), []
    time_pairs(
        stage.work("base", lambda i, _: 1.0), None, Schedule(6, block=3, control_every=0), clock=stage.clock,
        progress=lambda done, total, note: told.append((done, total)),
    )  # fmt: skip
    assert told == [(0, 6), (3, 6)]
