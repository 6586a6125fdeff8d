"""`tiku exam` and `tiku ask` as commands: what they print where, and how they end."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.command import run
from tests.exams import Lab, make_lab, read_result

FLAGS = ("--require", "accuracy >= 0.8", "--minimize", "size")


@dataclass(frozen=True)
class Finished:
    """An exam that was run with --json."""

    lab: Lab
    out: Path
    done: subprocess.CompletedProcess[str]
    result: dict[str, Any]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("exam")
    lab = make_lab(folder)
    done = lab.run(folder / "out", *FLAGS, "--json")
    assert done.returncode == 0, done.stderr
    return Finished(lab, folder / "out", done, read_result(folder / "out"))


def test_json_on_stdout_is_the_result_and_nothing_else(finished: Finished) -> None:
    assert json.loads(finished.done.stdout) == finished.result


def test_progress_and_guesses_go_to_stderr_without_escape_codes(finished: Finished) -> None:
    said = finished.done.stderr
    assert "[0:00] prepare" in said and "] base" in said and "] confirmation" in said
    assert '- column "text" is taken as the text, because of its name' in said
    assert "\x1b" not in said + finished.done.stdout


def test_quiet_leaves_the_summary_alone_and_it_speaks_chinese(finished: Finished) -> None:
    done = finished.lab.run(finished.out, *FLAGS, "-q", "--lang", "zh")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("可以发布") and str(finished.out / "report.html") in done.stdout
    assert 'lang="zh' in (finished.out / "report.html").read_text(encoding="utf-8")


def test_requirement_that_is_missed_ends_with_one(finished: Finished) -> None:
    done = finished.lab.run(finished.out, "--require", "accuracy > 1", "--minimize", "size", "-q")
    assert done.returncode == 1 and done.stdout.startswith("DO NOT SHIP")
    assert run("check", finished.out).code == 1


def test_question_is_asked_by_number_or_name(finished: Finished) -> None:
    by_name = finished.lab.run(finished.out, *FLAGS, "--json", "-q", verb=("ask", "evaluation"))
    by_number = finished.lab.run(finished.out, *FLAGS, "--json", "-q", verb=("ask", "1"))
    assert by_name.returncode == by_number.returncode == 0, by_number.stderr
    questions = [json.loads(done.stdout)["questions"] for done in (by_name, by_number)]
    assert questions[0]["evaluation"] == questions[1]["evaluation"]
    assert questions[1]["evaluation"]["verdict"] != "not measured"
    assert questions[1]["inference"]["verdict"] == "not measured"


def test_answer_alone_is_printed_for_people(finished: Finished) -> None:
    done = finished.lab.run(finished.out, *FLAGS, "-q", verb=("ask", "1"))
    assert done.returncode == 0 and done.stderr == "" and "tiku" in done.stdout


def test_result_of_the_exam_opens_a_gate(finished: Finished, tmp_path: Path) -> None:
    result, gate = tmp_path / "result.json", tmp_path / "tiku.toml"
    result.write_text(finished.done.stdout, encoding="utf-8")
    gate.write_text('[gate]\nrequire = ["accuracy >= 0.8", "size <= 1 MB"]\nquestions = ["evaluation"]\n')
    told = run("check", result, "--gate", gate, "--json")
    assert told.code == 0, told.out
    assert [line["met"] for line in told.json()["lines"]] == [True] * 5
