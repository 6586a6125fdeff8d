"""`tiku doctor --plan`: one document or a table, in both languages, and errors that say what to do."""

from __future__ import annotations

from pathlib import Path

from tests.command import run


def test_a_plan_is_one_document_whose_parts_make_its_peak(there: Path) -> None:
    told = run("doctor", "--plan", "decoder", "--batch", "2", "--tokens", "16", "--json")
    assert told.code == 0, told.err
    plan = told.json()
    assert (plan["batch"], plan["tokens"], plan["task"]) == (2, 16, "causal-lm")
    serving = max(plan["load_transient"], plan["cache"] + plan["activations"])
    assert plan["peak"] == plan["libraries"] + plan["weights"] + serving
    assert plan["libraries"] > 50e6  # torch alone is more
    assert plan["fits"]


def test_a_plan_is_shown_in_chinese(there: Path) -> None:
    told = run("doctor", "--plan", "model", "--lang", "zh")
    assert told.code == 0 and "峰值" in told.out and "放得下" in told.out


def test_a_plan_that_cannot_be_made_says_why(there: Path) -> None:
    told = run("doctor", "--plan", "no-such-folder")
    assert told.code == 2 and "no model at this path" in told.err
    told = run("doctor", "--plan", "model", "--tokens", "100000")
    assert told.code == 2 and "no positions for so many tokens" in told.err
    told = run("doctor", "--tokens", "8")
    assert told.code == 2 and "none is given" in told.err
