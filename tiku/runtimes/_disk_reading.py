"""Long runs of a file into memory: from the system's cache where they are in it, else straight from the disk.

Reading past the cache (O_DIRECT) leaves it to others, copies nothing, and is as fast as the disk; it wants
offsets, lengths and memory in whole pages, so that a run may begin a little before what is wanted.
"""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tiku.core.errors import ArtefactError

__all__ = ["PAGE", "DiskFile", "whole_pages"]

PAGE = 4096
_CHUNK = 4 << 20  # bytes of one request
_REQUESTS = 2  # at a time: more made the disk slower
_NOT_IN_CACHE = (errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL)


def whole_pages(start: int, end: int) -> tuple[int, int]:
    """The run of whole pages that holds start … end."""
    return start // PAGE * PAGE, -(-end // PAGE) * PAGE


class DiskFile:
    """A file that is read in whole pages by several requests at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._cached = os.open(path, os.O_RDONLY)
        self._direct = _open_past_cache(path)
        self._size = os.fstat(self._cached).st_size
        self._pool = ThreadPoolExecutor(_REQUESTS)

    def close(self) -> None:
        """Nothing can be read after that."""
        self._pool.shutdown(wait=True)
        os.close(self._cached)
        if self._direct is not None:
            os.close(self._direct)

    def read(self, start: int, out: memoryview) -> None:
        """Fill `out` from `start` on, all in whole pages; what lies behind the end of the file is left alone.

        Raises `ArtefactError` where the file has become shorter.
        """
        wanted = min(len(out), self._size - start)
        places = range(0, wanted, _CHUNK)
        for _ in self._pool.map(lambda at: self._chunk(start + at, out[at : at + _CHUNK]), places):
            pass

    def _chunk(self, start: int, out: memoryview) -> None:
        wanted = min(len(out), self._size - start)
        if self._from_cache(start, out) >= wanted:
            return
        done = 0
        while done < wanted:
            past_cache = self._direct is not None and done % PAGE == 0
            file = self._direct if past_cache and self._direct is not None else self._cached
            read = os.preadv(file, [out[done:]], start + done)
            if not read:
                raise ArtefactError(
                    "a weight file became shorter while the model was running", got=f"{start + done} bytes",
                    allowed=f"{self._size} bytes", next_step="build the artefact again",
                )  # fmt: skip
            done += read

    def _from_cache(self, start: int, out: memoryview) -> int:
        """Bytes that could be had without waiting for the disk."""
        if self._direct is None or not hasattr(os, "RWF_NOWAIT"):
            return 0
        try:
            return os.preadv(self._cached, [out], start, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno in _NOT_IN_CACHE:
                return 0
            raise


def _open_past_cache(path: Path) -> int | None:
    """None where the system or the file system does not have it."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECT)
    except (OSError, AttributeError):
        return None
