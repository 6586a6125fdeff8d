"""`python -m tiku.examination.zygote`: imports once, forks a worker per request.

Requests and answers are JSON lines: {"start": FOLDER} -> {"pid": N}; {"poll": PID} -> {"code": N|null}.
It computes nothing itself: a process that has started OpenMP threads must not be forked. It ends,
and its children with it, when its standard input closes.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
from pathlib import Path

__all__ = ["main"]

# What nearly every trial imports; importing starts no threads.
_PRELOADED = ("numpy", "scipy.stats", "torch", "transformers.models.auto", "safetensors.torch", "psutil")


def main() -> None:
    """Serve until standard input closes."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the exam decides what Ctrl-C ends
    for name in _PRELOADED:
        importlib.import_module(name)
    codes: dict[int, int | None] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            pid = _fork(Path(request["start"]))
            codes[pid] = None
            answer = {"pid": pid}
        else:
            answer = {"code": _poll(int(request["poll"]), codes)}  # type: ignore[dict-item]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for pid in [pid for pid, code in codes.items() if code is None]:
        _end(pid)


def _fork(folder: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        _die_with_parent()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        _redirect(folder / "log.txt")
        from tiku.examination.worker import run

        code = run(folder)
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _redirect(log: Path) -> None:
    null, out = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for source, stream in ((null, 0), (out, 1), (out, 2)):
        os.dup2(source, stream)


def _poll(pid: int, codes: dict[int, int | None]) -> int | None:
    if codes.get(pid) is None and pid in codes:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            codes[pid] = os.waitstatus_to_exitcode(status)
    return codes.get(pid)


def _end(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _die_with_parent() -> None:
    """Ask the kernel to end this process when its parent ends (Linux); elsewhere nothing happens."""
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    except (OSError, AttributeError):
        return
    if os.getppid() == 1:
        os._exit(1)  # the parent had already gone


if __name__ == "__main__":
    main()
