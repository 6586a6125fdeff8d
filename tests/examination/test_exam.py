"""The exam from end to end on a tiny model, through the command line and the library."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiku
from tests.exams import PLUGIN, Lab, events, make_lab, narrow, read_result, recipe_of, verdicts
from tests.tiny import sentences, write_csv, write_model

METHODS = ("onnxruntime", "length-bucketing")
_QUICK: dict[str, Any] = {"minimize": "size", "budget": "quick", "threads": 1}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return make_lab(tmp_path_factory.mktemp("lab"), *METHODS)


@pytest.fixture(scope="module")
def finished(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished exam."""
    out = tmp_path_factory.mktemp("finished")
    done = lab.run(out, "--require", "accuracy >= 0.9", "--minimize", "size")
    assert done.returncode == 0, done.stderr
    assert "SHIP" in done.stdout
    return out


def test_an_exam_writes_a_report_a_valid_result_and_an_artefact(finished: Path) -> None:
    result = read_result(finished)  # validates
    assert "<html" in (finished / "report.html").read_text(encoding="utf-8")
    assert result["decision"] == "ship"
    assert [r["met"] for r in result["requirements"]] == [True]
    assert result["confirmation"]["artefact_check"]["ok"]
    assert (finished / "artefact" / "artefact.json").exists()
    recipes = {recipe_of(t): t["status"] for t in result["trials"]}
    assert recipes == {"": "done", "onnxruntime": "done", "length-bucketing": "done"}


def test_a_second_run_measures_nothing_again_and_says_the_same(lab: Lab, finished: Path) -> None:
    before, first = events(finished), verdicts(read_result(finished))
    done = lab.run(finished, "--require", "accuracy >= 0.9", "--minimize", "size")
    assert done.returncode == 0, done.stderr
    assert events(finished) == before
    assert {seen.count("started") for seen in before.values()} == {1}
    assert verdicts(read_result(finished)) == first


def test_the_artefact_predicts_what_the_confirmed_trial_predicted(lab: Lab, finished: Path) -> None:
    from tiku.artefact import open_artefact
    from tiku.examination.inputs import load_inputs

    result = read_result(finished)
    values = {"model": str(lab.model), "data": [str(lab.data)], "task": None, "columns": {}, "seed": 0}
    test = load_inputs(values).splits[0].test
    opened = [
        open_artefact(folder, threads=1)
        for folder in (finished / "artefact", finished / "trials" / result["chosen"] / "build")
    ]
    ours, theirs = (model.predict(test.inputs()) for model in opened)
    assert np.array_equal(ours, theirs)
    right = float(np.mean(ours.argmax(axis=1) == test.targets()))
    assert right == pytest.approx(result["confirmation"]["metrics"]["accuracy"]["value"], abs=1e-12)


def test_a_question_alone_uses_the_trials_of_the_exam(lab: Lab, finished: Path) -> None:
    before = events(finished)
    done = lab.run(finished, "--minimize", "size", "--json", verb=("ask", "inference"))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)["questions"]["inference"]
    assert len(answer["evidence"]) == len(METHODS)
    assert events(finished) == before


def test_two_exams_on_one_folder_measure_no_trial_twice(lab: Lab, tmp_path: Path) -> None:
    pair = [lab.start(tmp_path, "--minimize", "size") for _ in range(2)]
    outputs = [process.communicate() for process in pair]
    assert [process.returncode for process in pair] == [0, 0], outputs
    seen = events(tmp_path)
    assert len(seen) == 5  # base, onnxruntime with and without its arena, buckets, confirmation
    assert all((e.count("started"), e.count("done")) == (1, 1) for e in seen.values()), seen
    assert read_result(tmp_path)["confirmation"]["artefact_check"]["ok"]
    assert lab.orphans() == []


def test_a_model_whose_head_is_new_is_fine_tuned_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lab = make_lab(tmp_path / "lab", "length-bucketing", labels=("x", "y"))
    narrow(monkeypatch, lab)
    result = tiku.exam(lab.model, lab.data, **_QUICK, out=tmp_path / "out")
    base = result.trial(result.base)
    assert base.recipe.names() == ("finetune",)
    assert base.metrics["accuracy"].value > 0.9  # an untrained head would be near a half
    assert {t.recipe.names()[0] for t in result.trials} == {"finetune"}


def test_a_plain_torch_module_is_examined(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = write_csv(tmp_path / "data.csv")
    narrow(monkeypatch, Lab(PLUGIN, data, ("length-bucketing",)))
    result = tiku.exam("plainmodel:build", data, **_QUICK, out=tmp_path / "out")
    assert result.model["family"] == "torch-module"
    assert {t.status for t in result.trials} == {"done"}
    assert result.confirmation is not None
    assert result.confirmation.metrics["accuracy"].value == 1.0
    assert result.confirmation.artefact_check["ok"]


def test_the_library_takes_pairs_from_memory(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    narrow(monkeypatch, lab)
    result = tiku.exam(lab.model, sentences(200), require=["accuracy >= 0.8"], out=tmp_path, **_QUICK)
    assert result.decision == "ship"
    assert sum(result.data["splits"].values()) == 200
    assert read_result(tmp_path)["run_id"] == result.run_id


def test_when_no_recipe_meets_the_requirements_the_nearest_miss_is_named(
    lab: Lab, finished: Path, tmp_path: Path
) -> None:
    done = lab.run(finished, "--require", "size <= 1 kB", "--maximize", "accuracy")
    assert done.returncode == 1, done.stderr
    result = read_result(finished)
    assert (result["decision"], result["chosen"]) == ("do not ship", None)
    sizes = {recipe_of(t): t["metrics"]["artefact_size"]["value"] for t in result["trials"]}
    smallest = min(sizes, key=lambda name: sizes[name]) or "base"
    assert f"the nearest miss is {smallest}" in result["reasons"][0]["en"]
    assert "size <= 1 kB" in done.stdout


def test_a_budget_too_small_names_what_did_not_fit(lab: Lab, tmp_path: Path) -> None:
    done = lab.run(tmp_path, "--minimize", "size", "--minutes", "0.01")
    assert done.returncode == 0, done.stderr
    result = read_result(tmp_path)
    assert len(result["trials"]) == 1
    told = " ".join(w["en"] for w in result["warnings"] if "budget" in w["en"])
    assert all(method in told for method in METHODS)
    assert result["questions"]["inference"]["verdict"] == "not measured"


def test_the_same_exam_again_begins_nothing_and_a_larger_budget_goes_on(lab: Lab, tmp_path: Path) -> None:
    trials = []
    for minutes in ("0.01", "0.01", "10"):
        done = lab.run(tmp_path, "--minimize", "size", "--minutes", minutes)
        assert done.returncode == 0, done.stderr
        trials.append(len(read_result(tmp_path)["trials"]))
    assert trials == [1, 1, 4]  # base; onnxruntime with and without its arena, buckets


def test_a_finished_exam_begins_nothing_though_its_trials_would_now_fit(lab: Lab, tmp_path: Path) -> None:
    assert lab.run(tmp_path, "--minimize", "size", "--minutes", "0.01").returncode == 0
    told = read_result(tmp_path)
    told["plan"]["minutes"] = 10.0  # as if it had ended with this budget used up
    (tmp_path / "result.json").write_text(json.dumps(told), encoding="utf-8")
    before = events(tmp_path)
    done = lab.run(tmp_path, "--minimize", "size", "--minutes", "10")
    assert done.returncode == 0, done.stderr
    assert events(tmp_path) == before
    told = " ".join(w["en"] for w in read_result(tmp_path)["warnings"] if "budget" in w["en"])
    assert all(method in told for method in METHODS)


def test_labels_of_the_test_part_change_nothing_but_the_confirmation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lab = make_lab(tmp_path / "lab", "length-bucketing", labels=("x", "y"))
    narrow(monkeypatch, lab)
    results = {}
    for name, other in (("true", {}), ("false", {"good": "bad", "bad": "good"})):
        data = _presplit(tmp_path / name / "data.csv", other)
        results[name] = tiku.exam(lab.model, data, **_QUICK, out=tmp_path / name)
    ours, theirs = results["true"], results["false"]
    assert _weights(tmp_path / "true", ours.base) == _weights(tmp_path / "false", theirs.base)
    assert [(t.recipe, t.status) for t in ours.trials] == [(t.recipe, t.status) for t in theirs.trials]
    assert [t.metrics for t in ours.trials] == [t.metrics for t in theirs.trials]
    assert ours.confirmation is not None and theirs.confirmation is not None
    right = ours.confirmation.metrics["accuracy"].value
    assert right > 0.9
    assert theirs.confirmation.metrics["accuracy"].value == pytest.approx(1.0 - right)


def _presplit(path: Path, test_labels: dict[str, str]) -> Path:
    """Sentences with a column that says which part each belongs to; the test part's labels exchanged."""
    path.parent.mkdir()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "split"])
        for i, (text, label) in enumerate(sentences(300)):
            part = ("train", "train", "train", "validation", "test")[i % 5]
            writer.writerow([text, test_labels.get(label, label) if part == "test" else label, part])
    return path


def _weights(out: Path, trial: str) -> str:
    manifest = json.loads((out / "trials" / trial / "build" / "artefact.json").read_text())
    (name,) = (n for n in manifest["files"] if n.endswith(".safetensors"))
    return str(manifest["files"][name]["sha256"])


def test_a_model_with_other_weights_is_another_exam(lab: Lab, finished: Path, tmp_path: Path) -> None:
    """The same folder, another model: nothing of the first is taken for the second."""
    other = Lab(write_model(tmp_path / "model", steps=10), lab.data, ())
    before = events(finished)
    done = other.run(finished, "--minimize", "size")
    assert done.returncode in (0, 1), done.stderr
    after = events(finished)
    assert set(before) < set(after) and all(after[name] == before[name] for name in before)
