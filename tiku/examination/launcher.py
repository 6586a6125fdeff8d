"""Starts trial processes. On Linux they are forked from a zygote that has imported the heavy
libraries once and run nothing, so that a trial starts in milliseconds with fresh state; elsewhere
each trial is a new interpreter.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO

import psutil

__all__ = ["Child", "Launcher"]


class Child:
    """A running trial process and the largest resident memory seen of its group."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.code: int | None = None
        self.peak_bytes = 0

    def poll(self) -> int | None:
        """The exit code, or None while it runs; negative for a signal."""
        raise NotImplementedError

    def sample_memory(self) -> int:
        """Resident bytes now, children included."""
        try:
            process = psutil.Process(self.pid)
            family = [process, *process.children(recursive=True)]
            now = sum(int(p.memory_info().rss) for p in family)
        except psutil.Error:
            return 0
        self.peak_bytes = max(self.peak_bytes, now)
        return now

    def kill(self) -> None:
        """End the whole group; harmless when it has ended."""
        if self.code is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                return


class _Interpreter(Child):
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        super().__init__(process.pid)
        self._process = process

    def poll(self) -> int | None:
        self.code = self._process.poll()
        return self.code


class _Forked(Child):
    def __init__(self, pid: int, zygote: _Zygote) -> None:
        super().__init__(pid)
        self._zygote = zygote

    def poll(self) -> int | None:
        self.code = self._zygote.ask({"poll": self.pid})["code"]
        return self.code


class _Zygote:
    """The parent's end of `python -m tiku.examination.zygote`."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tiku.examination.zygote"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )

    def ask(self, request: dict[str, object]) -> dict[str, int]:
        to, back = _pipe(self._process.stdin), _pipe(self._process.stdout)
        to.write(json.dumps(request).encode() + b"\n")
        to.flush()
        line = back.readline()
        if not line:
            raise BrokenPipeError("the zygote ended")
        answer: dict[str, int] = json.loads(line)
        return answer

    def close(self) -> None:
        _pipe(self._process.stdin).close()
        self._process.wait()
        _pipe(self._process.stdout).close()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # opened with PIPE above
    return stream


class Launcher:
    """Starts children; a context manager, since the zygote must be closed."""

    def __init__(self) -> None:
        self._zygote: _Zygote | None = None

    def start(self, folder: Path) -> Child:
        """Start the worker of one trial folder; its output goes to log.txt there."""
        if sys.platform == "linux":
            self._zygote = self._zygote or _Zygote()
            return _Forked(self._zygote.ask({"start": str(folder)})["pid"], self._zygote)
        with (folder / "log.txt").open("ab") as log:
            command = [sys.executable, "-m", "tiku.examination.worker", str(folder)]
            return _Interpreter(
                subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
            )

    def __enter__(self) -> Launcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._zygote is not None:
            self._zygote.close()
