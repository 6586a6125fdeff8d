from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.training.cases import context, texts, tiny_subject, weight_hash
from tiku.core.errors import OutOfSpace, TikuError
from tiku.core.subject import Subject
from tiku.training import TrainOptions, train
from tiku.training.checkpoint import Checkpoint

OPTIONS = TrainOptions(epochs=4, min_steps=0, batch_tokens=128, learning_rate=1e-3, precision="fp32")
DATA = texts(200)

_CHILD = """
import sys, time
from pathlib import Path
from tests.training.cases import context, tiny_subject
from tests.training.test_resume import DATA, OPTIONS
from tiku.training import train
folder = Path(sys.argv[1])
def slow(done, total, note): time.sleep(0.02)
import tiku.training.driving as driving
driving._NOTE_SECONDS = 0.0
train(tiny_subject(folder / "m"), DATA, DATA, OPTIONS, context(folder, progress=slow), checkpoint_seconds=0.0)
"""


class Interrupted(Exception):
    pass


def run(subject: Subject, folder: Path, *, stop_at: float = float("inf")) -> Subject:
    """Train with a checkpoint after every step; `stop_at` raises from the progress receiver."""

    def progress(done: float, total: float, note: str) -> None:
        if done >= stop_at:
            raise Interrupted

    return train(subject, DATA, DATA, OPTIONS, context(folder, progress=progress), checkpoint_seconds=0.0)


@pytest.fixture(autouse=True)
def every_step_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiku.training.driving._NOTE_SECONDS", 0.0)


def test_a_run_killed_twice_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    subject = tiny_subject(tmp_path / "m")
    whole = train(subject, DATA, DATA, OPTIONS, context(tmp_path / "whole"))
    for _ in range(2):
        _kill_while_training(tmp_path)
    resumed = run(tiny_subject(tmp_path / "m"), tmp_path)
    curve, expected = resumed.facts["learning_curve"], whole.facts["learning_curve"]
    assert curve["resumed_at"] and 0 < curve["resumed_at"][-1] < curve["steps"]
    assert weight_hash(resumed.module) == weight_hash(whole.module)
    assert [p["loss"] for p in curve["train"]] == [p["loss"] for p in expected["train"]]
    assert curve["validation"] == expected["validation"]


def _kill_while_training(folder: Path) -> None:
    """Start a run in another process and kill -9 it once it has written a new checkpoint."""
    path = Checkpoint(folder, "").path
    before = path.stat().st_mtime_ns if path.exists() else 0
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(folder)], env={**os.environ, "PYTHONPATH": os.getcwd()}
    )
    deadline = time.monotonic() + 120
    while not (path.exists() and path.stat().st_mtime_ns > before):
        assert child.poll() is None and time.monotonic() < deadline, "the child ended before it was killed"
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL


def test_the_checkpoint_is_gone_when_the_run_is_over(tmp_path: Path) -> None:
    run(tiny_subject(tmp_path / "m"), tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"m"}


def test_a_checkpoint_of_other_options_or_data_is_not_used(tmp_path: Path) -> None:
    subject = tiny_subject(tmp_path / "m")
    other = TrainOptions(epochs=4, min_steps=0, batch_tokens=128, learning_rate=2e-3, precision="fp32")
    for options, data in ((other, DATA), (OPTIONS, texts(150))):
        with pytest.raises(Interrupted):
            run(subject, tmp_path, stop_at=5)
        notes: list[str] = []
        receiver = context(tmp_path, progress=lambda done, total, note, notes=notes: notes.append(note))
        trained = train(subject, data, None, options, receiver)
        clean = train(subject, data, None, options, context(tmp_path / "clean"))
        assert trained.facts["learning_curve"]["resumed_at"] == []
        assert any("another training run" in note for note in notes)
        assert weight_hash(trained.module) == weight_hash(clean.module)


def test_a_damaged_checkpoint_is_reported_and_the_run_starts_anew(tmp_path: Path) -> None:
    subject = tiny_subject(tmp_path / "m")
    with pytest.raises(Interrupted):
        run(subject, tmp_path, stop_at=5)
    path = Checkpoint(tmp_path, "").path
    path.write_bytes(path.read_bytes()[:1000])
    notes: list[str] = []
    receiver = context(tmp_path, progress=lambda done, total, note: notes.append(note))
    trained = train(subject, DATA, None, OPTIONS, receiver)
    assert any("cannot be read" in note for note in notes)
    assert trained.facts["learning_curve"]["resumed_at"] == []


def test_a_checkpoint_holds_no_code(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, "x")
    torch.save({"identity": "x", "state": Path("would be unpickled")}, checkpoint.path)
    state, reason = checkpoint.load()
    assert state is None and "cannot be read" in reason


def test_a_folder_that_refuses_the_checkpoint_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutOfSpace) as caught:
        Checkpoint(tmp_path / "file", "x").save({})
    assert caught.value.parts()["next"]


def test_a_diverged_run_leaves_no_checkpoint_that_would_diverge_again(tmp_path: Path) -> None:
    subject = tiny_subject(tmp_path / "m")
    with pytest.raises(Interrupted):
        run(subject, tmp_path, stop_at=5)
    checkpoint = Checkpoint(tmp_path, "")
    content = torch.load(checkpoint.path, weights_only=True)
    content["state"]["module"]["classifier.bias"].fill_(float("nan"))
    torch.save(content, checkpoint.path)
    with pytest.raises(TikuError, match="diverged"):
        run(subject, tmp_path)
    assert not checkpoint.path.exists()
