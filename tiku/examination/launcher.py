"""Starts trial processes. On Linux they are forked from a zygote that has imported the heavy
libraries and read the data once and run nothing, so that a trial starts in milliseconds with fresh
state; elsewhere each trial is a new interpreter.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import psutil

from tiku.core.errors import CannotMeasure

__all__ = ["Child", "Launcher"]

_FAMILY_SECONDS = 1.0  # finding the children of a process reads the table of all processes


class Child(ABC):
    """A running trial process and the largest resident memory seen of its group."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.code: int | None = None
        self.peak_bytes = 0
        self._family: list[psutil.Process] = []
        self._looked = -_FAMILY_SECONDS

    @abstractmethod
    def poll(self) -> int | None:
        """The exit code, or None while it runs; negative for a signal."""

    def sample_memory(self) -> int:
        """Resident bytes now, children included."""
        now = 0
        for process in self._processes():
            with contextlib.suppress(psutil.Error):
                now += int(process.memory_info().rss)
        self.peak_bytes = max(self.peak_bytes, now)
        return now

    def kill(self) -> None:
        """End the whole group; harmless when it has ended."""
        if self.code is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def settle(self, seconds: float = 5.0) -> None:
        """Wait until a killed child has ended and freed what it held."""
        until = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < until:
            time.sleep(0.01)

    def _processes(self) -> list[psutil.Process]:
        if time.monotonic() - self._looked >= _FAMILY_SECONDS:
            self._looked = time.monotonic()
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(self.pid)
                self._family = [process, *process.children(recursive=True)]
        return self._family


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
        try:
            self.code = self._zygote.ask({"poll": self.pid})["code"]
        except ConnectionError:
            self.code = -signal.SIGKILL  # a worker ends with its zygote
        return self.code


class _Zygote:
    """The parent's end of `python -m tiku.examination.zygote`."""

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        command = [sys.executable, "-m", "tiku.examination.zygote", json.dumps(inputs)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, env=_environment()
        )

    def ask(self, request: dict[str, object]) -> dict[str, int]:
        """The answer. Raises `ConnectionError` when the zygote has ended."""
        to, back = _pipe(self._process.stdin), _pipe(self._process.stdout)
        to.write(json.dumps(request).encode() + b"\n")
        to.flush()
        line = back.readline()
        if not line:
            raise ConnectionError("the zygote ended")
        answer: dict[str, int] = json.loads(line)
        return answer

    def close(self) -> None:
        """End it and everything below it at once."""
        family = []
        with contextlib.suppress(psutil.Error):
            family = psutil.Process(self._process.pid).children(recursive=True)
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(ConnectionError):
            _pipe(self._process.stdin).close()
        _pipe(self._process.stdout).close()


def _environment() -> dict[str, str]:
    """This environment with every import path of this process: the user's own modules are found there too."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # opened with PIPE above
    return stream


class Launcher:
    """Starts children; a context manager, since the zygote must be closed.

    `inputs` are the plan's values from which the zygote reads the data.
    """

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        self._inputs = inputs
        self._zygote: _Zygote | None = None

    def warm(self) -> None:
        """Let the zygote import and read the data while this process does something else."""
        if sys.platform == "linux" and self._zygote is None:
            self._zygote = _Zygote(self._inputs)

    def start(self, folder: Path) -> Child:
        """Start the worker of one trial folder; its output goes to log.txt there."""
        if sys.platform == "linux":
            return self._fork(folder)
        with (folder / "log.txt").open("ab") as log:
            command = [sys.executable, "-m", "tiku.examination.worker", str(folder)]
            return _Interpreter(
                subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                    env=_environment(),
                )
            )  # fmt: skip

    def _fork(self, folder: Path) -> Child:
        """From the zygote; from a new one when it was killed."""
        for _ in range(2):
            self.warm()
            assert self._zygote is not None  # warmed
            try:
                return _Forked(self._zygote.ask({"start": str(folder)})["pid"], self._zygote)
            except ConnectionError:
                self.close()
        raise CannotMeasure(
            "the process that starts the trials ends at once",
            got="python -m tiku.examination.zygote",
            next_step="see the messages above it, and run again",
        )

    def close(self) -> None:
        """End the zygote and what it started."""
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None

    def __enter__(self) -> Launcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
