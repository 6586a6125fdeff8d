"""The ledger: one folder per trial, so that a killed exam goes on and many processes can share one.

::

    trials/<id>/
      trial.json     what is to be built and measured (written once)
      lease.json     who works on it now: host, pid, heartbeat by file time
      events.jsonl   append-only: started, progress, done …
      build/         the artefact folder the measurements were taken from
      arrays.npz     outputs kept for paired comparison
      result.json    the outcome, written atomically and last
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec

from tiku.core.data import Dataset
from tiku.core.errors import ArtefactError, OutOfSpace
from tiku.core.files import write_json
from tiku.core.hashing import canonical, hash_of
from tiku.core.protocol import Protocol
from tiku.core.recipe import Recipe
from tiku.core.result import Trial
from tiku.examination.leases import Busy, Lease
from tiku.version import __version__

__all__ = ["Busy", "Ledger", "TrialFolder", "TrialSpec", "data_sha", "trial_id"]

_ID_LENGTH = 16


@dataclass(frozen=True)
class TrialSpec:
    """What a worker needs to build and measure one trial.

    `role` is "trial" (measured on validation) or "confirmation" (an existing build measured on
    test). `inputs` are the plain values from which the worker loads model and data again.
    """

    id: str
    role: str
    recipe: Recipe
    protocol: Protocol
    inputs: Mapping[str, Any]
    base: str | None  # the trial to compare with; None for the base itself
    parent: str | None  # the trial whose build the recipe continues from
    builds: str | None = None  # confirmation: the trial whose build is measured


def trial_id(
    model_sha: str, data_sha: str, recipe: Recipe, protocol: Protocol, *, role: str = "trial"
) -> str:
    """The name of a trial: the hash of everything its outcome depends on."""
    return hash_of(model_sha, data_sha, recipe, protocol, role, __version__)[:_ID_LENGTH]


class TrialFolder:
    """One trial on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def build(self) -> Path:
        """The artefact the trial was measured from."""
        return self.path / "build"

    @property
    def arrays(self) -> Path:
        """Outputs kept for pairing."""
        return self.path / "arrays.npz"

    def write_spec(self, spec: TrialSpec) -> None:
        """Write trial.json, unless it says the same already: paths may differ from those of another run."""
        try:
            same = self.spec() == spec
        except (ArtefactError, msgspec.ValidationError):
            same = False
        if not same:
            write_json(self.path / "trial.json", spec)

    def spec(self) -> TrialSpec:
        """Read trial.json."""
        return msgspec.convert(self._read("trial.json"), TrialSpec)

    def result(self) -> Trial | None:
        """The outcome, or None while there is none. A damaged file counts as none."""
        if not (self.path / "result.json").exists():
            return None
        try:
            return msgspec.convert(self._read("result.json"), Trial)
        except (ArtefactError, msgspec.ValidationError):
            return None

    def write_result(self, trial: Trial) -> None:
        """Write the outcome atomically."""
        write_json(self.path / "result.json", trial)

    def forget(self, *, build: bool = False) -> None:
        """Drop the outcome (and the build), so that the trial runs again."""
        (self.path / "result.json").unlink(missing_ok=True)
        if build:
            self.arrays.unlink(missing_ok=True)
            shutil.rmtree(self.build, ignore_errors=True)

    def event(self, kind: str, **values: Any) -> None:
        """Append one line to events.jsonl; a torn line before it is closed first."""
        line = json.dumps({"time": time.time(), "event": kind, **canonical(values)}, ensure_ascii=False)
        try:
            with (self.path / "events.jsonl").open("a+b") as file:
                torn = file.seek(0, os.SEEK_END) > 0 and _last_byte(file) != b"\n"
                file.write(b"\n" * torn + line.encode() + b"\n")
        except OSError as error:
            raise OutOfSpace(
                "could not write", got=f"{self.path}: {error}", next_step="free space"
            ) from error

    def events(self) -> list[dict[str, Any]]:
        """All whole lines; torn ones (a killed writer) are left out."""
        return self.events_after(0)[0]

    def events_after(self, offset: int) -> tuple[list[dict[str, Any]], int]:
        """The events whose lines end after this byte, and the byte to go on from."""
        try:
            with (self.path / "events.jsonl").open("rb") as file:
                file.seek(offset)
                text = file.read()
        except FileNotFoundError:
            return [], offset
        whole = text[: text.rfind(b"\n") + 1]
        return list(_parsed(whole)), offset + len(whole)

    def _read(self, name: str) -> Any:
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ArtefactError(
                f"{name} of a trial cannot be read",
                got=f"{self.path}: {error}",
                next_step=f"remove the folder {self.path.name} and run the exam again",
            ) from error

    def lease(self) -> AbstractContextManager[None]:
        """Hold the trial. Raises `Busy` when another live process holds it."""
        return self._lease.held()

    def beat(self) -> None:
        """Say that the holder is alive."""
        self._lease.beat()

    def busy(self) -> bool:
        """Whether a live process holds the lease."""
        return self._lease.busy()

    @property
    def _lease(self) -> Lease:
        return Lease(self.path / "lease.json")


def _last_byte(file: IO[bytes]) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


def _parsed(lines: bytes) -> Iterator[dict[str, Any]]:
    for line in lines.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict) and "event" in value:
            yield value


class Ledger:
    """All trials of one exam folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, id: str) -> TrialFolder:
        """The folder of a trial; it need not exist."""
        return TrialFolder(self.root / id)

    def results(self) -> dict[str, Trial]:
        """Every finished trial by id."""
        folders = [TrialFolder(p) for p in sorted(self.root.glob("*")) if (p / "result.json").exists()]
        found = {f.path.name: f.result() for f in folders}
        return {name: trial for name, trial in found.items() if trial is not None}


def data_sha(datasets: tuple[Dataset, ...]) -> str:
    """One hash over several datasets, in order."""
    return hash_of([d.sha256() for d in datasets])
