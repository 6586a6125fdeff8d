"""Exams small enough for a test: a tiny model, tiny data, few methods and instruments, all of them real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.tiny import write_csv, write_model

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = ROOT / "tests" / "plugin"
_MARK = "TIKU_TEST_MARK"


@dataclass(frozen=True)
class Lab:
    """A model and data on disk, and what an exam may use of methods and instruments."""

    model: Path
    data: Path
    methods: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ("size", "classification-quality")
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def environment(self) -> dict[str, str]:
        """For every process of the exam; `mark` finds them again."""
        keep = {"methods": [*self.methods, "finetune"], "metrics": list(self.instruments)}
        changes = {
            "PYTHONPATH": os.pathsep.join((str(PLUGIN), str(ROOT))), "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1", "TIKU_TEST_KEEP": json.dumps(keep), _MARK: self.mark,
        }  # fmt: skip
        return {**os.environ, **changes}

    def command(self, out: Path, *flags: str, verb: Iterable[str] = ("exam",)) -> list[str]:
        """`tiku exam` on this model and data."""
        given = ["--data", str(self.data), "--budget", "quick", "--threads", "1", "--out", str(out), *flags]
        return [sys.executable, "-c", "from tiku.cli import main; main()", *verb, str(self.model), *given]

    def start(self, out: Path, *flags: str) -> subprocess.Popen[str]:
        """Begin an exam in a process group of its own, as a shell does."""
        return subprocess.Popen(
            self.command(out, *flags), env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL, text=True, start_new_session=True,
        )  # fmt: skip

    def run(
        self, out: Path, *flags: str, verb: Iterable[str] = ("exam",)
    ) -> subprocess.CompletedProcess[str]:
        """A whole exam (or another command)."""
        return subprocess.run(
            self.command(out, *flags, verb=verb), env=self.environment(), capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=300, check=False,
        )  # fmt: skip

    def processes(self) -> list[psutil.Process]:
        """Every live process that an exam of this lab started, whoever its parent is now."""
        found = []
        for process in psutil.process_iter():
            try:
                ended = process.status() == psutil.STATUS_ZOMBIE
                if not ended and process.environ().get(_MARK) == self.mark:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def orphans(self, seconds: float = 5.0) -> list[psutil.Process]:
        """Those that are still there after this long."""
        until = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < until:
            time.sleep(0.05)
        return left


def narrow(monkeypatch: pytest.MonkeyPatch, lab: Lab) -> None:
    """Let exams of this process, and the processes they start, see what the lab allows."""
    from tiku.core import registry

    changes = lab.environment()
    for name in ("TIKU_TEST_KEEP", "OMP_NUM_THREADS", "HF_HUB_OFFLINE", _MARK):
        monkeypatch.setenv(name, changes[name])
    monkeypatch.syspath_prepend(str(PLUGIN))
    everything, keep = registry._targets.__wrapped__, json.loads(changes["TIKU_TEST_KEEP"])

    def kept(group: str) -> dict[str, str]:
        found = everything(group)
        return {name: found[name] for name in found if name in keep.get(group, found)}

    monkeypatch.setattr(registry, "_targets", kept)


def make_lab(folder: Path, *methods: str, labels: tuple[str, str] = ("bad", "good"), hidden: int = 32) -> Lab:
    """`labels` other than the data's give the model a new head, so that the base is fine-tuned."""
    folder.mkdir(parents=True, exist_ok=True)
    steps = 60 if labels == ("bad", "good") else 0
    model = write_model(folder / "model", steps=steps, labels=labels, hidden=hidden)
    return Lab(model, write_csv(folder / "data.csv"), methods)


def read_result(out: Path) -> dict[str, Any]:
    """result.json, valid against its schema."""
    from tiku.report.schema import read_result as read

    read(out / "result.json")
    value: dict[str, Any] = json.loads((out / "result.json").read_text(encoding="utf-8"))
    return value


def events(out: Path) -> dict[str, list[str]]:
    """The events of each trial, by id, without progress."""
    from tiku.examination.ledger import Ledger

    ledger = Ledger(out / "trials")
    names = sorted(path.name for path in (out / "trials").iterdir()) if (out / "trials").exists() else []
    return {
        name: [e["event"] for e in ledger.folder(name).events() if e["event"] != "progress"] for name in names
    }


def recipe_of(trial: Mapping[str, Any]) -> str:
    """Its methods in a line."""
    return " + ".join(step["method"] for step in trial["recipe"])


def verdicts(result: Mapping[str, Any]) -> dict[str, Any]:
    """What must not depend on when an exam was interrupted: everything but times and resources."""
    exact = ("accuracy", "artefact_size")
    trials = {
        trial["id"]: (recipe_of(trial), trial["status"], [trial["metrics"].get(name) for name in exact])
        for trial in result["trials"]
    }
    return {
        "decision": result["decision"],
        "chosen": result["chosen"],
        "reasons": result["reasons"],
        "requirements": result["requirements"],
        "questions": {name: (q["verdict"], q["recommended"]) for name, q in result["questions"].items()},
        "trials": trials,
        "confirmed": result["confirmation"] and result["confirmation"]["metrics"].get("accuracy"),
    }
