"""One small exam, run once without interruption, that the others are compared with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.exams import Lab, make_lab, read_result, verdicts

METHODS = ("onnxruntime", "int8-dynamic")
FLAGS = ("--minimize", "size", "--require", "accuracy >= 0.5")


@dataclass(frozen=True)
class Reference:
    """An uninterrupted run: its folder, seconds and verdicts."""

    lab: Lab
    out: Path
    seconds: float
    verdicts: dict[str, Any]


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """A base that is fine-tuned (its head is new); int8 in onnxruntime is the smallest, so it is chosen."""
    folder = tmp_path_factory.mktemp("reference")
    lab = make_lab(folder, *METHODS, labels=("x", "y"), hidden=64)
    started = time.monotonic()
    done = lab.run(folder / "out", *FLAGS)
    assert done.returncode == 0, done.stderr
    seconds, result = time.monotonic() - started, read_result(folder / "out")
    assert result["trials"][0]["id"] != result["chosen"]
    return Reference(lab, folder / "out", seconds, verdicts(result))
