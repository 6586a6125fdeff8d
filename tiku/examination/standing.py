"""Whether a recorded outcome still stands, or deserves another try in this run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distributions
from typing import Any

import psutil

from tiku.core.hashing import hash_of
from tiku.core.result import Status, Trial
from tiku.examination.ledger import TrialFolder

__all__ = ["Limits", "installed", "standing"]

_MORE_TIME = 1.5  # a time limit that has grown by this factor is worth another try
_MORE_MEMORY = 1.2


@dataclass(frozen=True)
class Limits:
    """What one trial may use."""

    seconds: float = 3600.0
    memory_bytes: int = 0  # 0: nine tenths of the machine's memory

    def memory(self) -> int:
        """The memory limit in bytes."""
        return self.memory_bytes or int(psutil.virtual_memory().total * 0.9)


def standing(folder: TrialFolder, limits: Limits) -> Trial | None:
    """The recorded outcome, or None when there is none or what prevented a better one has changed."""
    trial = folder.result()
    if trial is None or trial.status == "done":
        return trial
    events = folder.events()
    started, ended = _last(events, "started"), _last(events, "done")
    return None if _changed(trial.status, started, ended, limits) else trial


def _changed(status: Status, started: Mapping[str, Any], ended: Mapping[str, Any], limits: Limits) -> bool:
    if ended.get("killed"):
        return True  # that said nothing about the recipe
    limit = ended.get("limit")
    if status == "timeout":
        return limits.seconds > _MORE_TIME * float(limit or limits.seconds)
    if status == "out of memory" and limit:
        return limits.memory() > _MORE_MEMORY * float(limit)
    if status == "out of memory":  # the system's, whatever else ran then
        now = float(psutil.virtual_memory().available)
        return now > _MORE_MEMORY * float(started.get("available", now))
    return str(started.get("installed", installed())) != installed()


def _last(events: list[dict[str, Any]], kind: str) -> Mapping[str, Any]:
    return next((event for event in reversed(events) if event["event"] == kind), {})


@cache
def installed() -> str:
    """A hash over the installed packages: after a change, what was refused or failed may work."""
    return hash_of(sorted({(d.name, d.version) for d in distributions()}))[:16]
