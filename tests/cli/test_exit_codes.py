"""0 ok, 1 a requirement failed, 2 usage or bad input, 3 could not measure, 130 interrupted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.command import command, environment, run


def _gate(tmp_path: Path, requirement: str) -> Path:
    path = tmp_path / "tiku.toml"
    path.write_text(f'[gate]\nrequire = ["{requirement}"]\n', encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("requirement", "code"),
    [("accuracy >= 0.8", 0), ("accuracy >= 0.9", 1), ("accuracy >= 0.846", 3), ("perplexity <= 9", 3)],
)
def test_check_tells_met_missed_and_unmeasured_apart(
    there: Path, tmp_path: Path, requirement: str, code: int
) -> None:
    assert run("check", "result.json", "--gate", _gate(tmp_path, requirement)).code == code


def test_check_takes_the_folder_too(there: Path) -> None:
    assert run("check", ".").code == run("check", "result.json").code == 0


def test_damaged_artefact_is_a_failure_of_verify(there: Path, tmp_path: Path) -> None:
    harmed = shutil.copytree("artefact", tmp_path / "artefact")
    (harmed / "README.md").write_text("changed")
    assert run("verify", harmed).code == 1


def test_compare_is_no_gate(there: Path) -> None:
    assert run("compare", "result.json", "result.json").code == 0


def test_defect_of_tiku_is_three_and_says_how_to_report_it(
    there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader of a third party that breaks its contract stands for a defect."""
    from tiku.data.readers import delimited

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a\x1b[31m defect")

    monkeypatch.setattr(delimited.Delimited, "read", broken)
    told = run("predict", "artefact", "reviews.csv", "--json")
    assert told.code == told.json()["exit_code"] == 3
    assert "an error inside tiku: ZeroDivisionError: a\\x1b[31m defect" in told.err
    assert "TIKU_DEBUG=1" in told.err and "Traceback" not in told.err
    monkeypatch.setenv("TIKU_DEBUG", "1")
    assert "Traceback" in run("predict", "artefact", "reviews.csv").err


def _heeds_interrupts() -> None:
    """A shell that runs the tests in the background has told them to ignore Ctrl-C; children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _interrupted(*arguments: str, cwd: Path, until: str) -> tuple[int, str, str]:
    """Ctrl-C as a terminal sends it: to the whole foreground group, once this was said on stderr."""
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), cwd=cwd,
        start_new_session=True, text=True, preexec_fn=_heeds_interrupts,
    )  # fmt: skip
    assert process.stderr is not None
    said = ""
    while until not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    time.sleep(0.3)
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    out, rest = process.communicate(timeout=60)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == [], "no child outlives the command"
    return process.returncode, out, said + rest


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_interrupt_is_130_and_says_that_it_can_go_on(
    good: Path, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    os.mkfifo(tmp_path / "slow.csv")  # reading it waits for a writer that never comes
    arguments = [
        "exam",
        "model",
        "--data",
        str(tmp_path / "slow.csv"),
        "--out",
        str(tmp_path / "out"),
        *flags,
    ]
    code, out, err = _interrupted(*arguments, cwd=good, until="prepare")
    assert code == 130
    assert "error: interrupted" in err and "it goes on" in err and "Traceback" not in err
    assert out == "" if not flags else '"exit_code": 130' in out
    assert not (tmp_path / "out" / "result.json").exists()
