"""The command in a result is the command that was given: parsed again it is the same plan."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from tests.command import run
from tiku.examination.command import apply_command, exam_command
from tiku.examination.plan import Plan

PLANS: dict[str, Any] = {
    "little": {},
    "requirements": {"require": ("accuracy >= 0.98 * base", "p95_latency <= 20 ms"), "minimize": "energy"},
    "columns": {"columns": {"text": "a text", "label": "y", "slices": ("a", "b"), "label_map": {"0": "no"}}},
    "choices": {"columns": {"context": "q", "options": "o", "answer": "a"}, "task": "causal-lm"},
    "run": {"budget": "thorough", "seed": 7, "threads": 2, "device": "cpu", "minutes": 3.5},
    "objective": {"maximize": "throughput", "minimize": None},
    "names": {"model": "my models/$HOME", "data": ("it's.csv", "-d.csv", "影评.csv")},
}  # fmt: skip


def _plan(values: dict[str, Any]) -> Plan:
    return Plan(**{"model": "model", "data": ("reviews.csv",), "out": Path("out dir/exam"), **values})


def _parsed(words: list[str], target: str) -> Plan:
    """The plan that the command line makes of these words."""
    with patch(target) as called:
        called.side_effect = KeyboardInterrupt  # parsed; nothing is to run
        assert run(*words).code == 130
    return next(
        value
        for value in (*called.call_args.args, *called.call_args.kwargs.values())
        if isinstance(value, Plan)
    )


@pytest.mark.parametrize("values", PLANS.values(), ids=PLANS)
def test_exam_command_parses_to_the_same_plan(values: dict[str, Any]) -> None:
    plan = _plan(values)
    program, *words = shlex.split(exam_command(plan))
    assert program == "tiku"
    assert _parsed(words, "tiku.api.run") == plan


def test_apply_command_names_the_same_inputs() -> None:
    plan = _plan(PLANS["columns"])
    _, *words = shlex.split(apply_command(plan, Path("out/trials/ab/build/recipe.yaml")))
    assert _parsed(words, "tiku.api.apply_recipe_file").inputs() == plan.inputs()
