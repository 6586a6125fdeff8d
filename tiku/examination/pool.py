"""Runs a trial in a process of its own, under a time and a memory limit.

A crash, an out-of-memory or a hang becomes a recorded outcome, not the end of the exam. What says
nothing about the recipe does not: a disk that refuses a write ends the exam, a process that someone
killed is started once more.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiku.core.errors import OutOfSpace
from tiku.core.files import read_only
from tiku.core.result import Cost, Status, Trial
from tiku.core.text import Text
from tiku.core.units import format_quantity
from tiku.examination.launcher import Child, Launcher
from tiku.examination.ledger import TrialFolder
from tiku.examination.standing import Limits, standing
from tiku.examination.worker import EXIT_BUSY, EXIT_DISK

__all__ = ["Limits", "OnEvent", "run_trial"]

OnEvent = Callable[[dict[str, Any]], None]
_POLL_SECONDS = 0.1
_KILLS = 2  # a process killed from outside so often is given up


@dataclass(frozen=True)
class _End:
    """How a child ended without leaving an outcome."""

    status: Status
    reason: Text
    limit: float | None = None  # the one that was reached: seconds or bytes
    killed: bool = False  # from outside


def run_trial(folder: TrialFolder, launcher: Launcher, limits: Limits, on_event: OnEvent) -> Trial:
    """The trial's outcome: read when it is there, else built and measured now. Raises `OutOfSpace`."""
    kills = 0
    while True:
        if trial := standing(folder, limits):
            return trial
        if folder.result():
            folder.forget()
        started = time.monotonic()
        child, end = _attempt(folder, launcher, limits, on_event)
        if child.code == EXIT_DISK:
            raise _disk_refused(folder.path)
        if trial := folder.result():
            return trial
        kills += end.killed
        if child.code == EXIT_BUSY or folder.busy():
            _wait(folder)  # another exam works on it
        elif not end.killed or kills >= _KILLS:
            return _record(folder, end, Cost(time.monotonic() - started, None, child.peak_bytes))


def _attempt(
    folder: TrialFolder, launcher: Launcher, limits: Limits, on_event: OnEvent
) -> tuple[Child, _End]:
    """Start one child and see it through; how it ended counts if it left no outcome."""
    oom_kills = _oom_kills()
    child = launcher.start(folder.path)
    try:
        stopped = _watch(child, folder, limits, on_event)
    finally:
        child.kill()
    if stopped:
        child.settle()
    return child, stopped or _crash(child.code, out_of_memory=_oom_kills() > oom_kills)


def _wait(folder: TrialFolder) -> None:
    while folder.busy() and folder.result() is None:
        time.sleep(_POLL_SECONDS)


def _record(folder: TrialFolder, end: _End, cost: Cost) -> Trial:
    spec = folder.spec()
    trial = Trial(spec.id, spec.parent, spec.recipe, end.status, end.reason, cost=cost)
    folder.write_result(trial)
    folder.event("done", status=end.status, limit=end.limit, killed=end.killed)
    return trial


def _watch(child: Child, folder: TrialFolder, limits: Limits, on_event: OnEvent) -> _End | None:
    """Forward events until the child ends; how it ended when a limit ended it."""
    started, memory = time.monotonic(), limits.memory()
    _, offset = folder.events_after(0)
    while child.poll() is None:
        events, offset = folder.events_after(offset)
        for event in events:
            on_event(event)
        if time.monotonic() - started > limits.seconds:
            span = format_quantity(limits.seconds, "s")
            words = Text(f"stopped at the time limit of {span}", f"超过时间上限 {span}，已停止")
            return _End("timeout", words, limits.seconds)
        if child.sample_memory() > memory:
            size = format_quantity(memory, "byte")
            words = Text(f"stopped at the memory limit of {size}", f"超过内存上限 {size}，已停止")
            return _End("out of memory", words, memory)
        time.sleep(_POLL_SECONDS)
    return None


def _crash(code: int | None, *, out_of_memory: bool) -> _End:
    """What an exit code says of a process that left no outcome."""
    if code == -signal.SIGKILL and out_of_memory:
        return _End("out of memory", _SYSTEM_MEMORY)
    if code == -signal.SIGKILL:
        return _End("failed", _KILLED, killed=True)
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return _End(
            "failed", Text(f"the process died of {name}; {_LOG.en}", f"进程因 {name} 终止；{_LOG.zh}")
        )
    return _End(
        "failed",
        Text(
            f"the process ended with code {code} and left no result; {_LOG.en}",
            f"进程以代码 {code} 结束且没有留下结果；{_LOG.zh}",
        ),
    )


_LOG = Text("see log.txt in the trial's folder", "见试验文件夹中的 log.txt")
_SYSTEM_MEMORY = Text("the system ended the process because memory ran out", "系统内存耗尽，终止了该进程")
_KILLED = Text(
    f"the process was killed {_KILLS} times (SIGKILL) from outside, not for memory; the next run tries again",
    f"进程被外部终止 {_KILLS} 次（SIGKILL），并非内存不足；下次运行会重试",
)


def _oom_kills() -> int:
    """How many processes the system has ended for want of memory (Linux; 0 elsewhere)."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _disk_refused(folder: Path) -> OutOfSpace:
    """What a worker's exit code cannot carry: which disk, and what is the matter with it."""
    where = {folder, Path(tempfile.gettempdir())}
    return OutOfSpace(
        "the disk refused a write while a trial ran; nothing was recorded about the trial",
        got="; ".join(sorted(f"{path}: {_state(path)}" for path in where)),
        next_step="free space, or make the folder writable, and run again: it goes on",
    )


def _state(path: Path) -> str:
    if read_only(path):
        return "read-only"
    return f"{format_quantity(shutil.disk_usage(path).free, 'byte')} left"
