"""0 ok, 1 a requirement failed, 2 usage or bad input, 3 could not measure, 130 interrupted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.command import command, environment, run

_PATIENCE = 180.0  # seconds


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


@contextmanager
def _started(*arguments: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """The command in a session of its own; whatever is left of it at the end, also of a failed test, is
    killed: a child that has left the session is still found below the command, and one that lost its parent
    still bears the session's id."""
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), cwd=cwd,
        start_new_session=True, text=True, preexec_fn=_heeds_interrupts,
    )  # fmt: skip
    patience = threading.Timer(_PATIENCE, process.kill)  # ends a wait for a line that never comes
    patience.start()
    try:
        yield process
    finally:
        patience.cancel()
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    below = []
    with suppress(psutil.NoSuchProcess):
        below = psutil.Process(process.pid).children(recursive=True)
    for one in [*below, *_session(process.pid)]:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    if process.poll() is None:
        process.kill()
    process.communicate()


def _session(leader: int) -> list[psutil.Process]:
    """Live processes of the session, the leader aside."""
    found = []
    for one in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if one.pid != leader and os.getsid(one.pid) == leader:
                found.append(one)
    return found


def _interrupted(*arguments: str, cwd: Path, until: str) -> tuple[int, str, str]:
    """Ctrl-C as a terminal sends it: to the whole foreground group, once this was said on stderr."""
    with _started(*arguments, cwd=cwd) as process:
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


def test_a_failed_test_leaves_no_process_behind(good: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "slow.csv")
    arguments = ["exam", "model", "--data", str(tmp_path / "slow.csv"), "--out", str(tmp_path / "out")]
    with pytest.raises(ZeroDivisionError), _started(*arguments, cwd=good) as process:
        assert process.stderr is not None
        while "prepare" not in (line := process.stderr.readline()):
            assert line
        time.sleep(0.3)
        left = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        raise ZeroDivisionError
    _, alive = psutil.wait_procs(left, timeout=5)
    assert alive == [] == _session(process.pid)


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
