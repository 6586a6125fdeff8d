"""Data on stdout, everything else on stderr; no codes where nothing can show them."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.command import Outcome, command, environment, run

QUICK = {
    "questions": ["questions"],
    "question 5": ["questions", "5"],
    "samples": ["samples"],
    "check": ["check", "result.json"],
    "compare": ["compare", "result.json", "result.json"],
    "predict": ["predict", "artefact", "a warm film"],
    "predict table": ["predict", "artefact", "reviews.csv"],
}


@pytest.mark.parametrize("arguments", QUICK.values(), ids=QUICK)
def test_json_is_one_document_and_nothing_else(there: Path, arguments: list[str]) -> None:
    told = run(*arguments, "--json")
    assert told.code == 0, told.err
    assert told.json() is not None and told.out.endswith("\n")


@pytest.mark.parametrize("arguments", QUICK.values(), ids=QUICK)
def test_piped_output_holds_no_escape_code(there: Path, arguments: list[str]) -> None:
    told = run(*arguments)
    assert told.code == 0 and told.out and "\x1b" not in told.out + told.err


def test_verify_gives_one_document(there: Path) -> None:
    told = run("verify", "artefact", "--json")
    found = told.json()
    assert told.code == 0 and found["ok"] is True and found["hashes_ok"] is True
    assert told.err == ""


def test_doctor_gives_one_document_and_names_what_is_asked_of_it(there: Path) -> None:
    told = run("doctor", "--json")
    found = told.json()
    assert told.code == 0
    assert {"cores", "isa", "ram_bytes", "gpu", "energy_source", "noise", "extras"} <= set(found)
    assert all(extra["install"].startswith("pip install") for extra in found["extras"])


def test_apply_gives_one_document_and_its_progress_goes_to_stderr(there: Path, tmp_path: Path) -> None:
    arguments = ["apply", "base.yaml", "model", "--data", "reviews.csv", "--out", tmp_path / "built"]
    told = run(*arguments, "--json")
    assert told.code == 0 and told.json()["runtime"] == "torch"
    assert "apply base" in told.err and "taken as the text" in told.err and "\x1b" not in told.err


def test_quiet_says_nothing_on_stderr(there: Path, tmp_path: Path) -> None:
    built = run("apply", "base.yaml", "model", "--data", "reviews.csv", "--out", tmp_path / "built", "-q")
    assert built.code == 0 and built.err == "" and built.out
    predicted = run("predict", "artefact", "reviews.csv", "-q")
    assert predicted.code == 0 and predicted.err == "" and len(predicted.out.splitlines()) == 60


def test_quiet_does_not_silence_an_error(there: Path) -> None:
    told = run("predict", "nowhere", "a film", "-q")
    assert told.code == 2 and told.err.startswith("error: ")


def _in_terminal(*arguments: str, cwd: Path, **variables: str) -> str:
    """What a terminal receives on both streams."""
    parent, child = pty.openpty()
    env = environment(TERM="xterm-256color", COLUMNS="100", **variables)
    env.pop("NO_COLOR", None) if "NO_COLOR" not in variables else None
    process = subprocess.Popen(command(*arguments), stdin=child, stdout=child, stderr=child, env=env, cwd=cwd)
    os.close(child)
    received = b""
    while chunk := _read(parent):
        received += chunk
    os.close(parent)
    assert process.wait(60) == 0, received
    return received.decode("utf-8")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux reports the closed other end of a terminal as EIO
        return b""


@pytest.mark.parametrize("arguments", [QUICK["check"], QUICK["question 5"]], ids=["check", "question 5"])
def test_terminal_gets_colours_unless_no_color_is_set(good: Path, arguments: list[str]) -> None:
    assert "\x1b[" in _in_terminal(*arguments, cwd=good)
    assert "\x1b" not in _in_terminal(*arguments, cwd=good, NO_COLOR="1")


def test_progress_in_a_terminal_without_colour_is_lines(good: Path, tmp_path: Path) -> None:
    arguments = ["apply", "base.yaml", "model", "--data", "reviews.csv", "--out", str(tmp_path / "built")]
    plain = _in_terminal(*arguments, cwd=good, NO_COLOR="1")
    assert "\x1b" not in plain and "apply base" in plain


def _gone(*arguments: str, cwd: Path) -> Outcome:
    """The reader of stdout leaves before anything is written."""
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), cwd=cwd
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    return Outcome(process.returncode, "", err.decode("utf-8"))


@pytest.mark.parametrize(
    "arguments",
    [
        QUICK["question 5"],
        [*QUICK["question 5"], "--json"],
        QUICK["check"],
        ["check", "nowhere", "--json"],
        ["--help"],
    ],
    ids=["text", "json", "table", "error", "help"],
)
def test_reader_that_has_gone_is_no_traceback_and_no_success(good: Path, arguments: list[str]) -> None:
    told = _gone(*arguments, cwd=good)
    assert told.code == 141
    assert "Traceback" not in told.err and "Exception" not in told.err and "BrokenPipe" not in told.err


def test_nothing_is_imported_from_the_current_folder(tmp_path: Path) -> None:
    """A folder that happens to hold json.py must not take part."""
    (tmp_path / "json.py").write_text("raise RuntimeError('imported from the folder')\n")
    (tmp_path / "typer.py").write_text("raise RuntimeError('imported from the folder')\n")
    code = "import sys; sys.path = [p for p in sys.path if p]; from tiku.cli import main; main()"
    import sys

    done = subprocess.run(
        [sys.executable, "-c", code, "questions"], cwd=tmp_path, env=environment(), capture_output=True
    )
    assert done.returncode == 0, done.stderr
