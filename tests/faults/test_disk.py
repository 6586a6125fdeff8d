"""A full disk, a read-only folder: a clear message, a ledger that loads, and later the exam goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.exams import read_result, verdicts
from tests.faults.conftest import FLAGS, Reference
from tests.faults.test_kill import assert_sound


def mount(*arguments: str) -> None:
    """As root; elsewhere the test is skipped with the reason."""
    if sys.platform != "linux":
        pytest.skip("mount: needs Linux")
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mount is not permitted here: {done.stderr.strip()}")


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own, in memory, of this size."""
    folder.mkdir()
    mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def bytes_in(folder: Path) -> int:
    """What the finished reference takes on a disk of 4 KiB blocks."""
    sizes = [
        os.path.getsize(os.path.join(root, name)) for root, _, names in os.walk(folder) for name in names
    ]
    return sum(-(-size // 4096) * 4096 for size in sizes)


@pytest.mark.parametrize("share", [0.1, 0.6])
def test_a_full_disk_ends_the_exam_with_a_message_and_space_lets_it_go_on(
    reference: Reference, tmp_path: Path, share: float
) -> None:
    whole = bytes_in(reference.out)
    with mounted(tmp_path / "small", str(int(share * whole))) as disk:
        done = reference.lab.run(disk / "out", *FLAGS)
        assert done.returncode == 3, done.stderr
        assert "Traceback" not in done.stderr
        assert "error:" in done.stderr and "next: free space" in done.stderr
        assert str(disk / "out") in done.stderr
        assert reference.lab.orphans() == []
        assert_sound(disk / "out")
        mount("-o", f"remount,size={4 * whole}", str(disk))
        done = reference.lab.run(disk / "out", *FLAGS)
        assert done.returncode == 0, done.stderr
        assert_sound(disk / "out")
        assert verdicts(read_result(disk / "out")) == reference.verdicts


def test_a_folder_that_becomes_read_only_ends_the_exam_with_a_message(
    reference: Reference, tmp_path: Path
) -> None:
    with mounted(tmp_path / "disk", "64m") as disk:
        process = reference.lab.start(disk / "out", *FLAGS)
        while not list(disk.glob("out/trials/*/events.jsonl")):
            assert process.poll() is None
        with read_only(disk):
            _, told = process.communicate(timeout=120)
            assert process.returncode == 3, told
            assert "Traceback" not in told
            assert "error:" in told and "read-only" in told.lower()
            assert reference.lab.orphans() == []
            assert_sound(disk / "out")
            again = reference.lab.run(disk / "out", *FLAGS)  # refused before anything is loaded
            assert again.returncode == 3
            assert "the folder cannot be written" in again.stderr
        done = reference.lab.run(disk / "out", *FLAGS)
        assert done.returncode == 0, done.stderr
        assert verdicts(read_result(disk / "out")) == reference.verdicts


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    """Mounted over itself: a plain remount would wait for the files that are open for writing."""
    mount("--bind", str(disk), str(disk))
    try:
        mount("-o", "remount,bind,ro", str(disk))
        yield
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
