"""How much memory a process takes with the file cache of its weights, where no control group can be made.

Every 30 ms: what the process has for itself (RssAnon), less what it had at the start, plus the pages of the
weight files that the system's cache holds. Nothing is taken away: emptying the cache from outside also drops
what was read ahead and not yet used (Accelerate then read half as much again, and took twice as long).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

__all__ = ["MemoryWatch", "counter"]

_INTERVAL = 0.03


def counter(file: str, name: str) -> int:
    """A number of /proc/self/`file`."""
    lines = Path("/proc/self", file).read_text("utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


class MemoryWatch:
    """`own` and `cached`: bytes at the moment since `begin` when their sum was highest."""

    def __init__(self) -> None:
        self._before = counter("status", "RssAnon") * 1024
        self._stop = threading.Event()
        self.own = self.cached = 0

    def begin(self, files: Iterable[Path]) -> Callable[[], None]:
        """Watch from now on; what is returned ends it."""
        from tiku.runtimes._disk_reading import Residency  # brings NumPy, whose threads are to be limited

        self._files = [os.open(path, os.O_RDONLY) for path in files]
        sizes = [os.fstat(file).st_size for file in self._files]
        self._residency = [Residency(file, size) for file, size in zip(self._files, sizes, strict=True)]
        self._sizes = sizes
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self._end

    def _watch(self) -> None:
        while not self._stop.wait(_INTERVAL):
            own, cached = counter("status", "RssAnon") * 1024 - self._before, self._in_cache()
            if own + cached > self.own + self.cached:
                self.own, self.cached = own, cached

    def _in_cache(self) -> int:
        from tiku.runtimes._disk_reading import PAGE

        sizes = zip(self._residency, self._sizes, strict=True)
        return PAGE * sum(int(held.pages(0, size).sum()) for held, size in sizes)

    def _end(self) -> None:
        self._stop.set()
        self._thread.join()
        for held, file in zip(self._residency, self._files, strict=True):
            held.close()
            os.close(file)
