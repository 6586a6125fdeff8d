"""No method of a question goes unnamed: what was not proposed is told with its true reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.questions.evidence import evidence, trial
from tiku.core import registry
from tiku.core.method import Situation
from tiku.questions import _unasked
from tiku.questions._unasked import unasked
from tiku.runtimes import _available


def _situation(task: str, budget: str = "standard") -> Situation:
    return Situation(task, task, "cpu", 20_000_000, labels=("bad", "good"), budget=budget)


def _told(question: str, situation: Situation, *trials: object) -> str:
    asked = registry.get("questions", question)
    found = unasked(asked.methods(), replace(evidence(*trials), situation=situation))
    assert len(found) <= 1
    return found[0].en if found else ""


@pytest.mark.parametrize("question", ["inference", "memory"])
@pytest.mark.parametrize("task", ["text-classification", "causal-lm"])
@pytest.mark.parametrize("budget", ["quick", "standard", "thorough"])
def test_every_method_is_proposed_or_named(question: str, task: str, budget: str) -> None:
    situation = _situation(task, budget)
    asked = registry.get("questions", question)
    proposed = {step.method for p in asked.propose(situation) for step in p.recipe.steps}
    told = _told(question, situation)
    for method in asked.methods():
        assert (method.name in proposed) != (f"{method.name} (" in told or f"{method.name}, " in told)


def test_merging_says_that_it_needs_other_models() -> None:
    told = _told("inference", _situation("causal-lm"))
    assert "slerp, soup, task-arithmetic, ties (needs other models of the same architecture" in told
    assert "tiku apply" in told


def test_a_method_of_a_larger_budget_says_which() -> None:
    told = _told("inference", _situation("text-classification", "quick"))
    assert "torch-compile" in told.split(" (tried with --budget standard)")[0]
    assert "fold-affine (tried with --budget thorough)" in told


def test_a_method_of_another_task_says_for_which() -> None:
    told = _told("inference", _situation("text-classification"))
    assert "prompt-lookup" in told.split(" (for causal-lm)")[0]
    assert "batch-tuning" not in told


def test_a_runtime_that_is_not_installed_says_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_available, "missing", lambda modules: list(modules))
    told = _told("inference", _situation("text-classification"))
    assert "onnxruntime (onnxruntime is not installed; pip install 'tiku[onnx]' installs it)" in told


def test_what_was_measured_for_another_question_is_not_called_untried() -> None:
    situation = _situation("causal-lm")
    assert "soup" in _told("memory", situation)
    assert "soup" not in _told("memory", situation, trial("a", "soup"))


def test_both_languages_name_the_same_methods() -> None:
    asked = registry.get("questions", "memory")
    (told,) = unasked(asked.methods(), replace(evidence(), situation=_situation("causal-lm")))
    assert all(name in told.zh for name in ("slerp", "soup", "ties")) and "未尝试" in told.zh
    assert _unasked._BY_RECIPE.en not in told.en, "a default reason is given where none is true"
