# ruff: noqa: E501 - one row per case reads as a table
"""Results and gates that `check` and `compare` must not believe."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.badinput.refusal import Case, Home, case, check, table
from tests.command import run


def _edited(home: Home, change: Callable[[dict[str, Any]], object]) -> list[object]:
    path = home.path / "result.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    return ["check", home.write("bad.json", json.dumps(value))]


def _set(*keys: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(value: Any) -> None:
        for key in keys[:-1]:
            value = value[key]
        value[keys[-1]] = to

    return change


def _drop(*keys: Any) -> Callable[[dict[str, Any]], None]:
    def change(value: Any) -> None:
        for key in keys[:-1]:
            value = value[key]
        del value[keys[-1]]

    return change


def _gate(home: Home, text: str | bytes) -> list[object]:
    return ["check", "result.json", "--gate", home.write("tiku.toml", text)]


def _raw(home: Home, content: str | bytes) -> list[object]:
    return ["check", home.write("bad.json", content)]


CASES = [
    case("missing", lambda h: ["check", "nowhere.json"], "cannot be read", "nowhere.json", "run the exam again"),
    case("folder without one", lambda h: ["check", "model"], "cannot be read", "model/result.json"),
    case("empty", lambda h: _raw(h, ""), "not valid JSON"),
    case("cut", lambda h: _raw(h, (h.path / "result.json").read_text(encoding="utf-8")[:5000]), "not valid JSON"),
    case("no UTF-8", lambda h: _raw(h, b'{"schema": "\xff"}'), "not valid JSON in UTF-8"),
    case("NaN", lambda h: _raw(h, '{"schema": NaN}'), "NaN is not a JSON number"),
    case("nested too deep", lambda h: _raw(h, "[" * 100_000), "not valid JSON"),
    case("a list", lambda h: _raw(h, "[]"), "a result is a JSON object", "got: list"),
    case("another file", lambda h: ["check", "model/config.json"], "not a result", "tiku.result/1"),
    case("another schema", lambda h: _edited(h, _set("schema", to="tiku.result/9")), "not a result", "got: tiku.result/9"),
    case("member missing", lambda h: _edited(h, _drop("decision")), "does not follow its schema", "decision"),
    case("decision unknown", lambda h: _edited(h, _set("decision", to="maybe")), "schema at $.decision", "maybe"),
    case("value is a text", lambda h: _edited(h, _set("trials", 0, "metrics", "accuracy", "value", to="high")), "does not follow its schema", "accuracy"),
    case("trials are a mapping", lambda h: _edited(h, _set("trials", to={})), "does not follow its schema"),
    case("base unknown", lambda h: _edited(h, _set("base", to="no-such-trial")), "a trial that the result does not hold", "no-such-trial"),
    case("chosen unknown", lambda h: _edited(h, _set("chosen", to="no-such-trial")), "chosen names a trial"),
    case("gate missing", lambda h: ["check", "result.json", "--gate", "nowhere.toml"], "gate file cannot be read", "nowhere.toml"),
    case("gate is a folder", lambda h: ["check", "result.json", "--gate", "model"], "gate file cannot be read"),
    case("gate is no TOML", lambda h: _gate(h, "[gate\n"), "not valid TOML", "line 1"),
    case("gate is no UTF-8", lambda h: _gate(h, b"[gate]\n# \xff\n"), "not valid TOML"),
    case("gate empty", lambda h: _gate(h, ""), "no [gate] table", "got: nothing"),
    case("gate under another name", lambda h: _gate(h, "[gates]\nrequire = []\n"), "no [gate] table", "got: gates"),
    case("gate is a value", lambda h: _gate(h, "gate = 1\n"), "no [gate] table"),
    case("key misspelt", lambda h: _gate(h, '[gate]\nrequires = ["accuracy >= 0.9"]\n'), "an unknown key", "did you mean require?"),
    case("requirement is no list", lambda h: _gate(h, '[gate]\nrequire = "accuracy >= 0.9"\n'), "not a list of texts"),
    case("requirement is a number", lambda h: _gate(h, "[gate]\nrequire = [0.9]\n"), "not a list of texts"),
    case("requirement misspelt", lambda h: _gate(h, '[gate]\nrequire = ["acuracy >= 0.9"]\n'), "no metric of this name", "did you mean accuracy"),
    case("requirement with a wrong unit", lambda h: _gate(h, '[gate]\nrequire = ["p95_latency <= 20 MB"]\n'), "measured in s"),
    case("question misspelt", lambda h: _gate(h, '[gate]\nquestions = ["infrence"]\n'), "did you mean inference?"),
    case("decision misspelt", lambda h: _gate(h, '[gate]\ndecision = "shipped"\n'), "not one of its choices", "ship, any"),
    case("decision is a list", lambda h: _gate(h, '[gate]\ndecision = ["ship"]\n'), "not one of its choices"),
    case("compare with nothing", lambda h: ["compare", "result.json", "nowhere.json"], "cannot be read", "nowhere.json"),
    case("compare with a cut file", lambda h: ["compare", "result.json", h.write("cut.json", "{")], "not valid JSON", "cut.json"),
    case("compare with one only", lambda h: ["compare", "result.json"], "tiku compare needs B"),
]  # fmt: skip


@table(CASES)
def test_results_and_gates_that_cannot_be_believed_are_refused(home: Home, row: Case) -> None:
    check(home, row)


def _closed(home: Home, arguments: list[object], code: int) -> None:
    told, as_json = run(*arguments), run(*arguments, "--json")
    assert told.code == as_json.code == code, told.err
    assert as_json.json()["ok"] is False and as_json.json()["exit_code"] == code
    assert told.out and "Traceback" not in told.err


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("perplexity <= 20", 3),  # never measured here
        ("accuracy >= 0.99", 1),
        ("accuracy >= 0.847", 3),  # the interval holds the threshold
    ],
)
def test_gate_stays_closed_for_what_is_missed_and_what_was_not_measured(
    home: Home, text: str, code: int
) -> None:
    _closed(home, _gate(home, f'[gate]\nrequire = ["{text}"]\n'), code)


def test_gate_stays_closed_for_a_question_that_was_not_measured(home: Home) -> None:
    _closed(home, _gate(home, '[gate]\nquestions = ["robustness"]\n'), 3)


def test_gate_stays_closed_when_a_requirement_of_the_plan_was_never_decided(home: Home) -> None:
    _closed(home, _edited(home, _set("requirements", to=[])), 3)


def test_gate_stays_closed_when_the_artefact_failed_its_own_check(home: Home) -> None:
    failed = {"ok": False, "max_abs_diff": 0.0, "hashes_ok": False}
    _closed(home, _edited(home, _set("confirmation", "artefact_check", to=failed)), 1)
