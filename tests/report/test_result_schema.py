from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tiku.core.errors import ArtefactError, OutOfSpace
from tiku.core.measured import Measured
from tiku.core.recipe import Recipe, Step
from tiku.core.result import Answer, Confirmation, Cost, Interaction, RequirementOutcome, Result, Trial
from tiku.core.text import Text
from tiku.core.verdict import Comparison
from tiku.report.schema import from_json, load_schema, read_result, to_json, write_result

from .builder import build_result, large_result

words = st.text(max_size=12)
numbers = st.floats(-1e12, 1e12, allow_nan=False)
texts = st.builds(Text, words, words)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def measureds(draw: Any) -> Measured:
    low, value, high = sorted(draw(st.tuples(numbers, numbers, numbers)))
    bounds = (low, high) if draw(st.booleans()) else (None, None)
    how = draw(st.sampled_from(["measured", "counter", "modelled", "cited"]))
    return Measured(value, *bounds, draw(st.integers(0, 10**9)), draw(words), how, draw(words))


comparisons = st.builds(
    Comparison,
    numbers,
    numbers,
    st.sampled_from(["difference", "ratio"]),
    numbers,
    numbers,
    numbers,
    st.sampled_from(["better", "worse", "equivalent", "cannot tell"]),
    st.none() | numbers,
    words,
)
metrics = st.dictionaries(words, measureds(), max_size=3)
steps = st.builds(Step, st.text(min_size=1, max_size=8), st.dictionaries(words, json_values, max_size=2))


@st.composite
def trials(draw: Any, id: str) -> Trial:
    status = draw(st.sampled_from(["done", "refused", "failed", "timeout", "out of memory"]))
    return Trial(
        id,
        draw(st.none() | st.just("base")),
        Recipe(tuple(draw(st.lists(steps, max_size=2)))),
        status,
        draw(texts) if status != "done" else None,
        draw(metrics),
        draw(st.dictionaries(words, comparisons, max_size=2)),
        draw(st.dictionaries(words, json_values, max_size=2)),
        tuple(draw(st.lists(texts, max_size=2))),
        draw(st.none() | st.builds(Cost, st.floats(0, 1e6), st.none() | numbers, st.integers(0, 2**40))),
        draw(words),
    )


@st.composite
def results(draw: Any) -> Result:
    ids = [f"trial-{i}" for i in range(draw(st.integers(1, 3)))]
    some_id = st.sampled_from(ids)
    answers = st.builds(
        Answer,
        st.sampled_from(["pass", "fail", "inconclusive", "informative", "not measured"]),
        texts,
        st.none() | some_id,
        st.lists(some_id, max_size=2).map(tuple),
        st.lists(texts, max_size=2).map(tuple),
        st.none() | words,
    )
    outcomes = st.builds(
        RequirementOutcome,
        words,
        st.none() | st.booleans(),
        st.none() | measureds(),
        st.sampled_from(["test", "validation"]),
        st.none() | numbers,
        st.none() | texts,
    )
    check = {"max_abs_diff": draw(st.none() | numbers), "hashes_ok": draw(st.none() | st.booleans())}
    confirmation = Confirmation(
        draw(some_id), draw(metrics), draw(metrics), {}, check, {"a": draw(json_values)}
    )
    paired = st.builds(Interaction, st.just(("a", "b")), numbers, measureds(), words)
    sample = build_result()
    return Result(
        tiku=draw(words),
        run_id=draw(st.text(min_size=1, max_size=8)),
        started="2026-01-01T00:00:00Z",
        finished="2026-01-01T00:01:00Z",
        environment=sample.environment,
        model=sample.model,
        data={**sample.data, "parts": [dict(sample.data)]},
        plan=sample.plan,
        base=draw(some_id),
        chosen=draw(st.none() | some_id),
        decision=draw(st.sampled_from(["ship", "do not ship", "cannot tell"])),
        reasons=tuple(draw(st.lists(texts, max_size=2))),
        requirements=tuple(draw(st.lists(outcomes, max_size=3))),
        questions=draw(st.dictionaries(words, answers, max_size=3)),
        trials=tuple(draw(trials(id)) for id in ids),
        interactions=tuple(draw(st.lists(paired, max_size=2))),
        confirmation=draw(st.none() | st.just(confirmation)),
        warnings=tuple(draw(st.lists(texts, max_size=2))),
        errors=tuple(draw(st.lists(words, max_size=2))),
    )


@settings(max_examples=60, deadline=None)
@given(results())
def test_any_result_survives_the_way_to_json_and_back(result: Result) -> None:
    text = json.dumps(to_json(result), allow_nan=False)
    assert from_json(json.loads(text)) == result


def test_the_shipped_schema_is_a_valid_draft_2020_12_schema() -> None:
    Draft202012Validator.check_schema(load_schema())


def test_written_file_has_the_members_of_the_documented_format(tmp_path: Path) -> None:
    write_result(build_result(), tmp_path / "result.json")
    value = json.loads((tmp_path / "result.json").read_text("utf-8"))
    assert next(iter(value)) == "schema" and value["schema"] == "tiku.result/1"
    chosen = next(t for t in value["trials"] if t["id"] == value["chosen"])
    assert chosen["recipe"][0] == {"method": "onnxruntime", "config": {"opset": 18}}
    assert set(chosen["against_base"]["energy_per_1000"]) == {
        "base", "value", "ratio", "low", "high", "verdict", "smallest_detectable", "test",
    }  # fmt: skip
    assert "difference" in chosen["against_base"]["accuracy"]
    assert set(value["questions"]["energy"]["answer"]) == {"en", "zh"}
    assert set(chosen["metrics"]["accuracy"]) == {"value", "low", "high", "n", "unit", "how", "estimator"}


def test_a_large_result_survives_the_file(tmp_path: Path) -> None:
    result = large_result()
    write_result(result, tmp_path / "result.json")
    assert read_result(tmp_path / "result.json") == result
    assert read_result(tmp_path) == result  # the folder stands for the file in it


def test_members_that_a_later_version_adds_are_ignored() -> None:
    value = to_json(build_result())
    value["new_member"] = 1
    value["trials"][0]["metrics"]["accuracy"]["new_member"] = [1]
    assert from_json(value) == build_result()


def _without(*path: Any) -> Any:
    value: Any = copy.deepcopy(to_json(build_result()))
    place = value
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return value


def _with(new: Any, *path: Any) -> Any:
    value: Any = copy.deepcopy(to_json(build_result()))
    place = value
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = new
    return value


DAMAGED = {
    "no decision": lambda: _without("decision"),
    "unknown decision": lambda: _with("perhaps", "decision"),
    "a verdict that does not exist": lambda: _with("great", "questions", "energy", "verdict"),
    "an answer in one language": lambda: _without("questions", "energy", "answer", "zh"),
    "a number as text": lambda: _with("0.9", "trials", 0, "metrics", "accuracy", "value"),
    "one end of an interval": lambda: _with(None, "trials", 0, "metrics", "accuracy", "low"),
    "interval upside down": lambda: _with(9.0, "trials", 0, "metrics", "accuracy", "low"),
    "an infinite value": lambda: _with(float("inf"), "trials", 0, "metrics", "accuracy", "high"),
    "a comparison without effect": lambda: _without("trials", 1, "against_base", "energy_per_1000", "ratio"),
    "a comparison with two effects": lambda: _with(
        1.0, "trials", 1, "against_base", "energy_per_1000", "difference"
    ),
    "a recipe that is not a list": lambda: _with({}, "trials", 1, "recipe"),
    "a step without method": lambda: _without("trials", 1, "recipe", 0, "method"),
    "a failed trial without reason": lambda: _with(None, "trials", 10, "reason"),
    "a base that is no trial": lambda: _with("nobody", "base"),
    "evidence that is no trial": lambda: _with(["nobody"], "questions", "energy", "evidence"),
    "a chosen trial that is none": lambda: _with("nobody", "chosen"),
    "no trials": lambda: _with([], "trials"),
    "a short hash": lambda: _with("abc", "model", "sha256"),
    "negative split": lambda: _with(-1, "data", "splits", "test"),
    "a list": lambda: [],
    "null": lambda: None,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_result_is_refused_with_the_place_and_the_next_step(name: str) -> None:
    with pytest.raises(ArtefactError) as refused:
        from_json(DAMAGED[name]())
    assert refused.value.allowed and refused.value.next_step


def test_another_schema_is_named_in_the_refusal() -> None:
    with pytest.raises(ArtefactError) as refused:
        from_json({**to_json(build_result()), "schema": "tiku.result/2"})
    assert refused.value.got == "tiku.result/2" and refused.value.allowed == "tiku.result/1"


FILES = {
    "empty": b"",
    "not json": b"<html>",
    "cut off": b'{"schema": "tiku.result/1", "tiku"',
    "not utf-8": b"\xff\xfe{}",
    "NaN": b'{"schema": NaN}',
    "deeply nested": b"[" * 200_000,
    "binary": bytes(range(256)) * 8,
}


@pytest.mark.parametrize("name", FILES)
def test_an_unreadable_file_is_refused_by_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(FILES[name])
    with pytest.raises(ArtefactError, match=r"result\.json"):
        read_result(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"nothing\.json"):
        read_result(tmp_path / "nothing.json")


def test_a_result_with_values_that_json_cannot_hold_is_not_written(tmp_path: Path) -> None:
    result = build_result()
    for bad in (object(), float("nan"), b"bytes"):
        broken = Result(**{**vars(result), "environment": {**result.environment, "extra": bad}})
        with pytest.raises(ArtefactError):
            write_result(broken, tmp_path / "result.json")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_refuses_the_write_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutOfSpace):
        write_result(build_result(), tmp_path / "file" / "result.json")
