"""Ctrl-C, and a worker that someone kills."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.exams import Lab, events, read_result, recipe_of, verdicts
from tests.faults.conftest import FLAGS, Reference
from tests.faults.test_kill import assert_sound


def interrupted_after(lab: Lab, out: Path, seconds: float) -> tuple[int, str]:
    """Ctrl-C as a terminal sends it: to the whole foreground group. The exit code and stderr."""
    process = lab.start(out, *FLAGS)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    return process.returncode, told


def test_ctrl_c_ends_with_130_and_the_next_run_goes_on(reference: Reference, tmp_path: Path) -> None:
    moments = random.Random(130)
    for share in (0.2, 0.6):  # while it prepares, while it trains or measures
        seconds = reference.seconds * (share + moments.uniform(-0.1, 0.1))
        code, told = interrupted_after(reference.lab, tmp_path, max(seconds, 2.0))
        if code == 0:
            continue  # faster than the reference was
        assert code == 130, told
        assert told.rstrip().endswith("run the same command again: it goes on")
        assert "error: interrupted" in told and "Traceback" not in told
        assert reference.lab.orphans() == []
        assert_sound(tmp_path)
    done = reference.lab.run(tmp_path, *FLAGS)
    assert done.returncode == 0, done.stderr
    assert verdicts(read_result(tmp_path)) == reference.verdicts


def worker_of(lab: Lab, process: subprocess.Popen[str]) -> psutil.Process | None:
    """The worker that runs now: the zygote's child."""
    for zygote in psutil.Process(process.pid).children():
        for child in zygote.children():
            return child
    return None


@pytest.fixture
def napping(reference: Reference, tmp_path: Path) -> tuple[Lab, Path]:
    """A finished exam that now has a slow method to try."""
    out = shutil.copytree(reference.out, tmp_path / "out")
    return replace(reference.lab, methods=("naps",)), out


def kill_workers(lab: Lab, out: Path, method: str, times: int) -> subprocess.CompletedProcess[str]:
    """Run an exam and kill the worker of one trial, so many times in a row."""
    process = lab.start(out, *FLAGS)
    killed: set[int] = set()
    while process.poll() is None and len(killed) < times:
        worker = worker_of(lab, process)
        if worker and worker.pid not in killed and started(out, method) == len(killed) + 1:
            time.sleep(0.5)
            worker.kill()
            killed.add(worker.pid)
        time.sleep(0.05)
    out_text, told = process.communicate(timeout=120)
    assert len(killed) == times, told
    return subprocess.CompletedProcess(process.args, process.returncode, out_text, told)


def started(out: Path, method: str) -> int:
    """How often the trial of this method was begun."""
    from tiku.examination.ledger import Ledger

    ledger = Ledger(out / "trials")
    for folder in map(ledger.folder, events(out)):
        if (folder.path / "trial.json").exists() and method in folder.spec().recipe.names():
            return [e["event"] for e in folder.events()].count("started")
    return 0


def test_a_worker_killed_twice_is_given_up_for_this_run_only(napping: tuple[Lab, Path]) -> None:
    lab, out = napping
    done = kill_workers(lab, out, "naps", times=2)
    assert done.returncode == 0, done.stderr
    trial = next(t for t in read_result(out)["trials"] if recipe_of(t) == "finetune + naps")
    assert trial["status"] == "failed"  # and not "out of memory", which nobody saw
    assert "killed 2 times (SIGKILL) from outside" in trial["reason"]["en"]
    assert lab.run(out, *FLAGS).returncode == 0
    trial = next(t for t in read_result(out)["trials"] if recipe_of(t) == "finetune + naps")
    assert trial["status"] == "done"
    assert lab.orphans() == []


def test_a_killed_zygote_is_replaced_and_its_worker_started_again(napping: tuple[Lab, Path]) -> None:
    lab, out = napping
    process = lab.start(out, *FLAGS)
    while started(out, "naps") == 0:
        assert process.poll() is None
        time.sleep(0.05)
    (zygote,) = psutil.Process(process.pid).children()
    zygote.kill()
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert {t["status"] for t in read_result(out)["trials"]} == {"done"}
    assert started(out, "naps") == 2
    assert lab.orphans() == []
