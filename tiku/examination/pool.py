"""Runs a trial in a process of its own, under a time and a memory limit.

A crash, an out-of-memory or a hang becomes a recorded outcome, not the end of the exam.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil

from tiku.core.result import Cost, Status, Trial
from tiku.core.text import Text
from tiku.core.units import format_quantity
from tiku.examination.launcher import Child, Launcher
from tiku.examination.ledger import TrialFolder
from tiku.examination.worker import EXIT_BUSY

__all__ = ["Limits", "OnEvent", "run_trial"]

OnEvent = Callable[[dict[str, Any]], None]
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Limits:
    """What one trial may use."""

    seconds: float = 3600.0
    memory_bytes: int = 0  # 0: nine tenths of the machine's memory

    def memory(self) -> int:
        """The memory limit in bytes."""
        return self.memory_bytes or int(psutil.virtual_memory().total * 0.9)


def run_trial(folder: TrialFolder, launcher: Launcher, limits: Limits, on_event: OnEvent) -> Trial:
    """The trial's outcome: read when it is there, else built and measured now."""
    while True:
        if trial := folder.result():
            return trial
        outcome = _attempt(folder, launcher, limits, on_event)
        if outcome is not None:
            return outcome
        while folder.busy() and folder.result() is None:  # another exam works on it
            time.sleep(_POLL_SECONDS)


def _attempt(folder: TrialFolder, launcher: Launcher, limits: Limits, on_event: OnEvent) -> Trial | None:
    """Start one child and see it through; None when another process held the trial."""
    started = time.monotonic()
    child = launcher.start(folder.path)
    try:
        verdict = _watch(child, folder, limits, started, on_event)
    finally:
        child.kill()
    if child.code == EXIT_BUSY:
        return None
    if verdict is None and (trial := folder.result()):
        return trial
    status, reason = verdict or _crash(child.code)
    spec = folder.spec()
    cost = Cost(time.monotonic() - started, None, child.peak_bytes)
    trial = Trial(spec.id, spec.parent, spec.recipe, status, reason, cost=cost)
    folder.write_result(trial)
    folder.event("done", status=status)
    return trial


def _watch(
    child: Child, folder: TrialFolder, limits: Limits, started: float, on_event: OnEvent
) -> tuple[Status, Text] | None:
    """Forward events until the child ends; the reason when a limit ended it."""
    seen, memory = len(folder.events()), limits.memory()
    while child.poll() is None:
        events = folder.events()
        for event in events[seen:]:
            on_event(event)
        seen = len(events)
        if time.monotonic() - started > limits.seconds:
            span = format_quantity(limits.seconds, "s")
            return "timeout", Text(f"stopped at the time limit of {span}", f"超过时间上限 {span}，已停止")
        if child.sample_memory() > memory:
            size = format_quantity(memory, "byte")
            return "out of memory", Text(
                f"stopped at the memory limit of {size}", f"超过内存上限 {size}，已停止"
            )
        time.sleep(_POLL_SECONDS)
    return None


def _crash(code: int | None) -> tuple[Status, Text]:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        if -code == signal.SIGKILL:
            return "out of memory", Text(
                "the process was killed (SIGKILL), as the system does when memory runs out",
                "进程被 SIGKILL 终止，系统内存耗尽时即如此",
            )
        return "failed", Text(f"the process died of {name}", f"进程因 {name} 终止")
    return "failed", Text(
        f"the process ended with code {code} and left no result; see log.txt in the trial's folder",
        f"进程以代码 {code} 结束且没有留下结果；见试验文件夹中的 log.txt",
    )
