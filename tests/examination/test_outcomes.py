"""Whatever a method does to its process, the exam records it and finishes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tiku
from tests.exams import Lab, events, make_lab, narrow, read_result
from tiku.core.recipe import Recipe
from tiku.core.result import Result, Trial
from tiku.core.text import Text
from tiku.examination import standing as module
from tiku.examination.ledger import TrialFolder
from tiku.examination.runner import Runner
from tiku.examination.standing import Limits, standing

OFFENDERS = ("raises", "exits", "exits-politely", "eats", "hangs", "peeks", "leaves-a-child")
SECONDS, BYTES = 6.0, 2_000_000_000


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return make_lab(tmp_path_factory.mktemp("lab"), *OFFENDERS)


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials, but for the base and the confirmation, may take a few seconds and two gigabytes."""
    usual = Runner._limits

    def limits(self: Runner, needed: bool = False) -> Limits:
        return usual(self, needed) if needed else Limits(SECONDS, BYTES)

    monkeypatch.setattr(Runner, "_limits", limits)


def examine(lab: Lab, out: Path) -> Result:
    return tiku.exam(lab.model, lab.data, minimize="size", out=out, budget="quick", threads=1)


def by_method(result: Result) -> Iterator[tuple[str, Trial]]:
    return ((t.recipe.names()[-1], t) for t in result.trials if t.recipe.names())


def test_every_way_of_going_wrong_is_a_recorded_outcome(
    lab: Lab, limited: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    narrow(monkeypatch, lab)
    result = examine(lab, tmp_path)
    trials = dict(by_method(result))
    told = {name: (t.status, t.reason.en if t.reason else "") for name, t in trials.items()}
    assert told["raises"] == ("failed", "ZeroDivisionError: on purpose")
    assert told["exits"][0] == "failed" and "ended with code 3" in told["exits"][1]
    assert told["exits-politely"][0] == "failed" and "ended with code 1" in told["exits-politely"][1]
    assert told["eats"] == ("out of memory", "stopped at the memory limit of 2.00 GB")
    assert told["hangs"] == ("timeout", "stopped at the time limit of 6.00 s")
    assert told["peeks"] == ("failed", "ValueError: test examples seen: 0")
    assert told["leaves-a-child"] == ("done", "")
    assert lab.orphans() == []  # nor is the child there that was left behind
    assert (result.decision, result.chosen) == ("ship", result.base)
    assert len(read_result(tmp_path)["errors"]) == 4
    for name, trial in trials.items():
        assert trial.cost is not None and trial.cost.seconds < SECONDS + 5, name

    before = events(tmp_path)
    again = examine(lab, tmp_path)  # an outcome is an outcome: nothing is tried again
    assert events(tmp_path) == before
    assert {n: t.status for n, t in by_method(again)} == {n: t.status for n, t in trials.items()}


@pytest.fixture
def folder(tmp_path: Path) -> TrialFolder:
    made = TrialFolder(tmp_path / "abc")
    made.path.mkdir()
    return made


def ended(folder: TrialFolder, status: Any, *, started: dict[str, Any], done: dict[str, Any]) -> None:
    folder.event("started", **{"installed": module.installed(), "available": 10**15, **started})
    folder.write_result(Trial("abc", None, Recipe(), status, Text("why", "因")))
    folder.event("done", status=status, **done)


@pytest.mark.parametrize("status", ["refused", "failed"])
def test_what_was_refused_or_failed_stands_until_other_packages_are_installed(
    folder: TrialFolder, status: str
) -> None:
    ended(folder, status, started={}, done={})
    assert standing(folder, Limits()) is not None
    ended(folder, status, started={"installed": "of another day"}, done={})
    assert standing(folder, Limits()) is None


def test_a_timeout_stands_until_there_is_more_time(folder: TrialFolder) -> None:
    ended(folder, "timeout", started={}, done={"limit": 100.0})
    assert standing(folder, Limits(seconds=100.0)) is not None
    assert standing(folder, Limits(seconds=1000.0)) is None


def test_a_memory_limit_stands_until_it_is_raised(folder: TrialFolder) -> None:
    ended(folder, "out of memory", started={}, done={"limit": 10**9})
    assert standing(folder, Limits(memory_bytes=10**9)) is not None
    assert standing(folder, Limits(memory_bytes=10**10)) is None


def test_memory_that_ran_out_stands_until_more_is_free(folder: TrialFolder) -> None:
    ended(folder, "out of memory", started={"available": 10**15}, done={})
    assert standing(folder, Limits()) is not None
    ended(folder, "out of memory", started={"available": 1}, done={})
    assert standing(folder, Limits()) is None


def test_a_kill_from_outside_says_nothing_about_the_recipe(folder: TrialFolder) -> None:
    ended(folder, "failed", started={}, done={"killed": True})
    assert standing(folder, Limits()) is None


def test_what_is_done_stands_whatever_is_installed(folder: TrialFolder) -> None:
    ended(folder, "done", started={"installed": "of another day"}, done={})
    assert standing(folder, Limits()) is not None
