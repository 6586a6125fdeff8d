"""kill -9 at random moments: the exam goes on to the same verdicts, and leaves no process behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections import Counter
from pathlib import Path

import psutil
import pytest

from tests.exams import Lab, events, read_result, verdicts
from tests.faults.conftest import FLAGS, Reference

KILLS = int(os.environ.get("TIKU_TEST_KILLS", "20"))
WAYS = ("group", "parent", "everything")


def kill(process: subprocess.Popen[str], way: str, lab: Lab) -> None:
    """The exam's process group, the exam's process alone, or each of its processes at once."""
    if way == "group":
        os.killpg(process.pid, signal.SIGKILL)
    elif way == "parent":
        process.kill()
    else:
        for one in [psutil.Process(process.pid), *lab.processes()]:
            try:
                one.kill()
            except psutil.NoSuchProcess:
                continue
    process.communicate()


def killed_after(lab: Lab, out: Path, seconds: float, way: str) -> bool:
    """Start an exam and kill it; False when it had ended before."""
    process = lab.start(out, *FLAGS)
    try:
        process.communicate(timeout=seconds)
        return False
    except subprocess.TimeoutExpired:
        kill(process, way, lab)
        return True


def assert_sound(out: Path) -> None:
    """The ledger loads; nothing that was finished was begun again."""
    from tiku.examination.ledger import Ledger

    Ledger(out / "trials").results()
    for name, seen in events(out).items():
        finished = seen.index("done") if "done" in seen else len(seen)
        assert seen[finished:] in ([], ["done"]), f"{name}: {seen}"


@pytest.mark.timeout(1800)
def test_an_exam_killed_at_twenty_moments_ends_with_the_same_verdicts(
    reference: Reference, tmp_path: Path
) -> None:
    lab, moments = reference.lab, random.Random(20)
    folders, current, ways = [tmp_path / "0"], tmp_path / "0", Counter[str]()
    while ways.total() < KILLS:
        way = WAYS[ways.total() % len(WAYS)]
        if killed_after(lab, current, moments.uniform(0.0, reference.seconds), way):
            ways[way] += 1
            assert lab.orphans() == [], way
            assert_sound(current)
        else:  # it came to its end in spite of the kills before: begin another one
            current = tmp_path / str(len(folders))
            folders.append(current)
    for out in folders:
        done = lab.run(out, *FLAGS)
        assert done.returncode == 0, done.stderr
        assert_sound(out)
        assert verdicts(read_result(out)) == reference.verdicts
        assert not list(out.glob("trials/*/.*")) and not list(out.glob(".artefact.*"))
    assert lab.orphans() == []
    print(f"{dict(ways)} kills within {reference.seconds:.0f} s, {len(folders)} exams")
