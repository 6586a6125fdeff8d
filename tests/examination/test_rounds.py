"""In which order an exam spends its budget: time kept for joins is not left lying when there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.examination.test_search import BASE, KEEP, METRICS, SPEED, trial
from tiku.core.recipe import Recipe
from tiku.core.result import Trial
from tiku.examination.exam import Exam
from tiku.examination.plan import Plan, Target

CONFIRMATION = 2
TARGET = Target((KEEP,), SPEED, METRICS, stated=True)
# steps of one slot: none can be joined with another
ALONE = ("onnxruntime", "openvino", "torch-compile")
RECIPES = [Recipe.parse([name]) for name in ALONE]
TOGETHER = [Recipe.parse([name]) for name in ("onnxruntime", "length-bucketing", "openvino", "int8-dynamic")]


class Counted:
    """A runner whose trials take one unit of time each."""

    def __init__(self, budget: int) -> None:
        self.left, self.begun = budget, list[str]()

    def expect(self, recipe: Recipe) -> None: ...
    def drop(self, recipe: Recipe) -> None: ...
    def expected_seconds(self) -> float:
        return 1.0

    def reserve(self) -> float:
        return CONFIRMATION

    def own_steps(self, recipe: Recipe) -> Recipe:
        return recipe

    def fits(self, recipe: Recipe, spare: int = 0) -> bool:
        return self.left >= 1 + spare + CONFIRMATION

    def trial(self, recipe: Recipe, base: Trial, *, thorough: bool = False) -> Trial:
        self.left -= 1
        self.begun.append("+".join(recipe.names()))
        return trial(self.begun[-1], *recipe.names(), speed=1.2 ** len(recipe.steps))


@pytest.fixture
def exam(tmp_path: Path) -> Exam:
    return Exam(Plan("model", ("data",), tmp_path))


def test_time_kept_for_joins_goes_to_singles_when_nothing_can_be_joined(exam: Exam) -> None:
    runner = Counted(CONFIRMATION + 2)
    trials, left = exam._try(runner, BASE, RECIPES, TARGET)
    assert runner.begun == ["onnxruntime", "openvino"]  # nothing more fits beside the confirmation
    assert [t.id for t in trials] == runner.begun
    assert left == RECIPES[2:]


def test_joins_come_before_the_singles_that_would_take_their_time(exam: Exam) -> None:
    runner = Counted(CONFIRMATION + 4)
    exam._try(runner, BASE, TOGETHER, TARGET)
    assert runner.begun == ["onnxruntime", "length-bucketing", "onnxruntime+length-bucketing", "openvino"]


def test_what_did_not_fit_is_named_once(exam: Exam) -> None:
    _, left = exam._try(Counted(CONFIRMATION), BASE, TOGETHER, TARGET)
    assert left == TOGETHER
