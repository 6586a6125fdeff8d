"""Run as a program by `tiku.artefact.apart`: holds one artefact and answers until the pipe ends."""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tiku.artefact.apart import connected, told
from tiku.core.startup import insist
from tiku.core.subject import Session


def main(descriptor: int, parent: int) -> None:
    """Serve the requests that come through the pipe."""
    _end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe, host = connected(descriptor), _Host()
    while True:
        try:
            name, arguments, dropped = pipe.recv()
        except EOFError:
            return
        for number in dropped:
            host.held.pop(number, None)
        try:
            answer: tuple[bool, Any] = (True, getattr(host, name)(*arguments))
        except Exception as error:
            answer = (False, told(error))
        pipe.send(answer)


class _Host:
    """One method for each message; caches and rows stay here under their number."""

    def __init__(self) -> None:
        self.held: dict[int, Any] = {}
        self._numbers = itertools.count()
        self._session: Session | None = None

    def open(
        self, folder: str, environment: Mapping[str, str], threads: int | None, device: str
    ) -> tuple[str, str]:
        """(runtime, device). Refuses where the environment does not act: nothing would be measured."""
        from tiku.artefact.manifest import read_manifest
        from tiku.artefact.predictor import open_session

        insist(environment)
        manifest = read_manifest(Path(folder))
        session = open_session(Path(folder), manifest, threads=threads, device=device, alone=True)
        self._session = session
        return session.runtime, str(getattr(session, "device", "cpu"))

    def run(self, inputs: Mapping[str, Any]) -> Any:
        """Logits."""
        return self.session.run(inputs)

    def extend(self, tokens_BT: Any, cache: int | None, last_only: bool) -> tuple[Any, int]:
        """Logits and the cache's number."""
        before = None if cache is None else self.held[cache]
        logits, after = self.session.extend(tokens_BT, before, last_only=last_only)
        return logits, self._hold(after)

    def crop(self, cache: int, length: int) -> int:
        """The cut cache's number."""
        return self._hold(self.session.crop(self.held[cache], length))

    def rows(self, longest: Sequence[int]) -> int:
        """The rows' number."""
        return self._hold(self.session.rows(longest))

    def of_rows(self, number: int, name: str, *arguments: Any) -> Any:
        """What a method of the rows gives."""
        return getattr(self.held[number], name)(*arguments)

    @property
    def session(self) -> Session:
        """The opened one."""
        assert self._session is not None  # the first message opens it
        return self._session

    def _hold(self, value: Any) -> int:
        number = next(self._numbers)
        self.held[number] = value
        return number


def _end_with(parent: int) -> None:
    """Ask the kernel to end this process when the one that started it ends (Linux)."""
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    except (OSError, AttributeError):
        return
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
