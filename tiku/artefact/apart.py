"""An artefact opened in a process of its own, started with the environment it asks for.

What an allocator saves or costs can only be measured where it acts: a process keeps the one it began with.
Arrays go through a pipe, as pickles between two processes of the same program.
"""

from __future__ import annotations

import os
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiku.artefact.manifest import MODEL, check_files, read_manifest
from tiku.artefact.predictor import OpenedArtefact, registered
from tiku.core.errors import ArtefactError, TikuError
from tiku.core.startup import started_environment
from tiku.core.subject import Rows, Session

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ApartSession", "Held", "open_apart"]

_PATIENCE_S = 10.0


def open_apart(folder: Path | str, threads: int | None = None, device: str = "auto") -> OpenedArtefact:
    """Like `open_artefact`, its session in another process. Raises `ArtefactError`, `MissingExtra`."""
    folder = Path(folder)
    manifest = read_manifest(folder)
    check_files(folder, manifest, hashes=False)
    family = registered("models", manifest.family)
    session = ApartSession(folder, manifest.serve.environment, threads, device)
    return OpenedArtefact(folder, manifest, family, family.load_processor(folder / MODEL), session)


class Held:
    """A value that stays in the other process; this side knows its number."""

    def __init__(self, number: int) -> None:
        self.number = number


class ApartSession(Session):
    """Each call is one message and one answer. `pid` is the process that computes."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], threads: int | None, device: str
    ) -> None:
        self._dropped: list[int] = []
        self._pipe, theirs = Pipe()
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        started = started_environment(environment, {**os.environ, "PYTHONPATH": paths})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tiku.artefact._serving", str(theirs.fileno()), str(os.getpid())],
            env=started,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        theirs.close()
        self.pid = self._process.pid
        try:
            opened = self._ask("open", str(folder), dict(environment), threads, device)
        except BaseException:
            self.close()
            raise
        self.runtime, self.device = opened

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._ask("run", dict(inputs))
        return logits

    def extend(
        self, tokens_BT: NDArray[np.int64], cache: Any = None, *, last_only: bool = False
    ) -> tuple[NDArray[np.float32], Any]:
        logits, number = self._ask("extend", tokens_BT, None if cache is None else cache.number, last_only)
        return logits, self._held(number)

    def crop(self, cache: Any, length: int) -> Any:
        return self._held(self._ask("crop", cache.number, length))

    def rows(self, longest: Sequence[int]) -> Rows:
        return _ApartRows(self, self._held(self._ask("rows", list(longest))))

    def close(self) -> None:
        self._pipe.close()  # the other side ends when it reads the end
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _held(self, number: int) -> Held:
        held = Held(number)
        weakref.finalize(held, self._dropped.append, number)
        return held

    def _ask(self, name: str, *arguments: Any) -> Any:
        dropped = [self._dropped.pop() for _ in range(len(self._dropped))]
        try:
            self._pipe.send((name, arguments, dropped))
            done, value = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise ArtefactError(
                "the process that held the model has ended",
                got=f"exit code {self._process.poll()}",
                next_step="see the messages above it, and give it more memory if it was killed",
            ) from error
        if not done:
            raise value
        return value


class _ApartRows(Rows):
    def __init__(self, session: ApartSession, held: Held) -> None:
        self._session, self._rows = session, held

    def enter(self, tokens: Sequence[int]) -> tuple[int, NDArray[np.float32]]:
        entered: tuple[int, NDArray[np.float32]] = self._do("enter", list(tokens))
        return entered

    def step(self, tokens: Mapping[int, int]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._do("step", dict(tokens))
        return logits

    def leave(self, row: int) -> None:
        self._do("leave", row)

    def report(self) -> dict[str, Any]:
        told: dict[str, Any] = self._do("report")
        return told

    def _do(self, name: str, *arguments: Any) -> Any:
        return self._session._ask("of_rows", self._rows.number, name, *arguments)


def told(error: BaseException) -> TikuError | MemoryError:
    """An error in a form that another process can raise."""
    if isinstance(error, TikuError | MemoryError):
        return error
    return TikuError(
        "the model failed in the process that holds it",
        got=f"{type(error).__name__}: {error}",
        next_step="open the artefact by hand and repeat the request",
    )


def connected(descriptor: int) -> Connection[Any, Any]:
    """The other end of the pipe, in the process that was started."""
    return Connection(descriptor)
