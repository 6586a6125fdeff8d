from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from tiku.core.errors import ArtefactError, OutOfSpace
from tiku.core.result import Result
from tiku.report.schema import from_json, load_schema, read_result, to_json, write_result

from .builder import build_result, large_result
from .strategies import results


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
