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
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psutil

from tiku.core.data import Dataset
from tiku.core.errors import ArtefactError, OutOfSpace
from tiku.core.files import write_json
from tiku.core.hashing import canonical, hash_of
from tiku.core.protocol import Protocol
from tiku.core.recipe import Recipe
from tiku.core.result import Trial
from tiku.version import __version__

__all__ = ["Busy", "Ledger", "TrialFolder", "TrialSpec", "data_sha", "trial_id"]

_STALE_SECONDS = 30.0  # a heartbeat older than this belongs to a dead or cut-off worker
_ID_LENGTH = 16


class Busy(Exception):
    """Another live process holds the lease."""


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
        """Write trial.json unless it is there."""
        if not (self.path / "trial.json").exists():
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

    def forget(self) -> None:
        """Drop the outcome, so that the trial runs again."""
        (self.path / "result.json").unlink(missing_ok=True)

    def event(self, kind: str, **values: Any) -> None:
        """Append one line to events.jsonl."""
        line = json.dumps({"time": time.time(), "event": kind, **canonical(values)}, ensure_ascii=False)
        try:
            with (self.path / "events.jsonl").open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise OutOfSpace(
                "could not write", got=f"{self.path}: {error}", next_step="free space"
            ) from error

    def events(self) -> list[dict[str, Any]]:
        """All whole lines; a torn last line (a killed writer) is left out."""
        path = self.path / "events.jsonl"
        found = []
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return found

    def _read(self, name: str) -> Any:
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ArtefactError(
                f"{name} of a trial cannot be read",
                got=f"{self.path}: {error}",
                next_step=f"remove the folder {self.path.name} and run the exam again",
            ) from error

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Hold the trial. Raises `Busy` when another live process holds it."""
        self._acquire()
        try:
            yield
        finally:
            self._lease.unlink(missing_ok=True)

    def beat(self) -> None:
        """Say that the holder is alive."""
        os.utime(self._lease)

    def busy(self) -> bool:
        """Whether a live process holds the lease."""
        try:
            holder = json.loads(self._lease.read_text())
            age = time.time() - self._lease.stat().st_mtime
        except FileNotFoundError:
            return False
        except ValueError:
            return time.time() - self._lease.stat().st_mtime < _STALE_SECONDS
        if holder.get("host") == socket.gethostname():
            return _alive(int(holder["pid"]), float(holder["started"]))
        return age < _STALE_SECONDS

    @property
    def _lease(self) -> Path:
        return self.path / "lease.json"

    def _acquire(self) -> None:
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "started": _start_time(os.getpid())}
        staged = self.path / f".lease.{socket.gethostname()}.{os.getpid()}"
        staged.write_text(json.dumps(holder))
        try:
            if not self._link(staged) and not (self._retire_stale(staged) and self._link(staged)):
                raise Busy(self.path.name)
        finally:
            staged.unlink(missing_ok=True)

    def _link(self, staged: Path) -> bool:
        try:
            os.link(staged, self._lease)  # atomic, also on network file systems
        except FileExistsError:
            return False
        return True

    def _retire_stale(self, staged: Path) -> bool:
        """Move a dead holder's lease away; put it back if another process renewed it meanwhile."""
        if self.busy():
            return False
        try:
            seen = self._lease.read_bytes()
            retired = staged.with_name(staged.name + ".retired")
            os.rename(self._lease, retired)
        except FileNotFoundError:
            return True
        if retired.read_bytes() != seen:
            self._link(retired)
        stale = retired.read_bytes() == seen
        retired.unlink()
        return stale


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


def _start_time(pid: int) -> float:
    return float(psutil.Process(pid).create_time())


def _alive(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        # A recycled pid has another start time; a zombie has ended.
        return bool(process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - started) < 1.0)
    except psutil.Error:
        return False
