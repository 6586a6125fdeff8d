"""A lease: one live process works on a trial, also where several machines share the folder.

The lease is a hard link, which appears at once or not at all on network file systems too. On the
holder's own machine its pid and start time tell whether it lives; elsewhere the heartbeat does.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tiku.core.errors import OutOfSpace

__all__ = ["Busy", "Lease"]

_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
_STALE_SECONDS = 30.0  # a heartbeat older than this belongs to a dead or cut-off worker


class Busy(Exception):
    """Another live process holds the lease."""


class Lease:
    """The lease file of one trial."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it. Raises `Busy` when another live process does, `OutOfSpace`."""
        try:
            self._acquire()
        except OSError as error:
            raise OutOfSpace(
                "could not write",
                got=f"{self.path}: {error.strerror}",
                next_step="free space or choose another folder with --out",
            ) from error
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # a disk that became read-only: the pid tells that we ended
                self.path.unlink(missing_ok=True)

    def beat(self) -> None:
        """Say that the holder is alive."""
        os.utime(self.path)

    def busy(self) -> bool:
        """Whether a live process holds it."""
        try:
            text, age = self.path.read_text(), time.time() - self.path.stat().st_mtime
        except FileNotFoundError:
            return False
        try:
            holder = json.loads(text)
            here, pid, started = holder["host"] == socket.gethostname(), holder["pid"], holder["started"]
        except (ValueError, KeyError, TypeError):
            return age < _STALE_SECONDS  # torn
        return _alive(int(pid), float(started)) if here else age < _STALE_SECONDS

    def _acquire(self) -> None:
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "started": _start_time(os.getpid())}
        staged = self.path.with_name(f".lease.{socket.gethostname()}.{os.getpid()}")
        try:
            staged.write_text(json.dumps(holder))
            if not self._link(staged) and not (self._retire_stale(staged) and self._link(staged)):
                raise Busy(self.path.parent.name)
        finally:
            with contextlib.suppress(OSError):
                staged.unlink(missing_ok=True)

    def _link(self, staged: Path) -> bool:
        try:
            os.link(staged, self.path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return self._create(staged)
        return True

    def _create(self, staged: Path) -> bool:
        """For file systems without hard links, which are local ones: exclusive creation is atomic there."""
        try:
            with self.path.open("xb") as file:
                file.write(staged.read_bytes())
        except FileExistsError:
            return False
        return True

    def _retire_stale(self, staged: Path) -> bool:
        """Move a dead holder's lease away; put it back if another process renewed it meanwhile."""
        if self.busy():
            return False
        try:
            seen = self.path.read_bytes()
            retired = staged.with_name(staged.name + ".retired")
            os.rename(self.path, retired)
        except FileNotFoundError:
            return True
        if retired.read_bytes() != seen:
            self._link(retired)
        stale = retired.read_bytes() == seen
        retired.unlink()
        return stale


def _start_time(pid: int) -> float:
    return float(psutil.Process(pid).create_time())


def _alive(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        # A recycled pid has another start time; a zombie has ended.
        return bool(process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - started) < 1.0)
    except psutil.Error:
        return False
