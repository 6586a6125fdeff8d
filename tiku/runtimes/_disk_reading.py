"""Long runs of a file into memory: from the system's cache where they are in it, else straight from the disk.

Reading past the cache (O_DIRECT) leaves it to others, copies nothing, and is as fast as the disk; it wants
offsets, lengths and memory in whole pages, so that a run may begin a little before what is wanted. What the
cache holds is looked up (mincore), not tried: a read that may not wait (RWF_NOWAIT) still makes the system
fetch the pages ahead, and the disk then gives them twice.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tiku.core.errors import ArtefactError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PAGE", "DiskFile", "Residency", "looked_up", "whole_pages"]

PAGE = 4096
_CHUNK = 4 << 20  # bytes of one request
_REQUESTS = 2  # at a time: more made the disk slower


def whole_pages(start: int, end: int) -> tuple[int, int]:
    """The run of whole pages that holds start … end."""
    return start // PAGE * PAGE, -(-end // PAGE) * PAGE


def looked_up(address: int, length: int) -> None:
    """Tell the system that this memory, if it is mapped from a file, is read here and there: else it reads
    megabytes ahead of each row of a table."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "madvise") and hasattr(mmap, "MADV_RANDOM"):
        start, end = whole_pages(address, address + length)
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_RANDOM)


class DiskFile:
    """A file that is read in whole pages by several requests at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._cached = os.open(path, os.O_RDONLY)
        self._direct = _open_past_cache(path)
        self._size = os.fstat(self._cached).st_size
        self._residency = Residency(self._cached, self._size) if self._direct is not None else None
        self._pool = ThreadPoolExecutor(_REQUESTS)

    def close(self) -> None:
        """Nothing can be read after that."""
        self._pool.shutdown(wait=True)
        if self._residency is not None:
            self._residency.close()
        os.close(self._cached)
        if self._direct is not None:
            os.close(self._direct)

    def read(self, start: int, out: memoryview) -> None:
        """Fill `out` from `start` on, all in whole pages; what lies behind the end of the file is left alone.

        Raises `ArtefactError` where the file has become shorter.
        """
        self.read_all([(start, out)])

    def read_all(self, parts: Iterable[tuple[int, memoryview]]) -> None:
        """`read` of several parts, without a pause between them."""
        chunks = [
            (start + at, out[at : at + _CHUNK])
            for start, out in parts
            for at in range(0, min(len(out), self._size - start), _CHUNK)
        ]
        for _ in self._pool.map(lambda chunk: self._chunk(*chunk), chunks):
            pass

    def _chunk(self, start: int, out: memoryview) -> None:
        wanted = min(len(out), self._size - start)
        cached = self._residency is None or self._residency.has(start, wanted)
        done = 0
        while done < wanted:
            past_cache = not cached and done % PAGE == 0
            file = self._direct if past_cache and self._direct is not None else self._cached
            read = os.preadv(file, [out[done:]], start + done)
            if not read:
                raise ArtefactError(
                    "a weight file became shorter while the model was running", got=f"{start + done} bytes",
                    allowed=f"{self._size} bytes", next_step="build the artefact again",
                )  # fmt: skip
            done += read


class Residency:
    """Which pages of an open file are in the system's cache, without touching them."""

    def __init__(self, file: int, size: int) -> None:
        self._map: mmap.mmap | None = None
        if size and _tells_residency(file):
            self._map = mmap.mmap(file, size, access=mmap.ACCESS_READ)
            self._first = np.frombuffer(self._map, np.uint8).ctypes.data
            self._mincore = ctypes.CDLL(None).mincore
            self._mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)

    def has(self, start: int, length: int) -> bool:
        """Whether all of it is; False where the system does not tell. `start` begins a page."""
        pages = self.pages(start, length)
        return bool(pages.size) and bool(pages.all())

    def pages(self, start: int, length: int) -> NDArray[np.bool_]:
        """One for each page; none where the system does not tell."""
        found = np.empty(-(-length // PAGE), np.uint8)
        if self._map is None or self._mincore(self._first + start, length, found.ctypes.data):
            return np.empty(0, np.bool_)
        return (found & 1).astype(np.bool_)

    def close(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None


def _tells_residency(file: int) -> bool:
    """Of a file that one may not write the kernel answers that every page is there."""
    owner = os.fstat(file).st_uid
    return mmap.PAGESIZE == PAGE and os.geteuid() in (0, owner) and hasattr(ctypes.CDLL(None), "mincore")


def _open_past_cache(path: Path) -> int | None:
    """None where the system or the file system does not have it."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECT)
    except (OSError, AttributeError):
        return None
