"""What is left to do and how long it will take: the truth behind the progress bar."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tiku.core.text import Text

__all__ = ["Timeline", "Update", "Watch", "unwatched"]

_TICK_SECONDS = 0.5
_PRIOR = 0.05  # what was expected of a stage weighs as much as this share of it, run at that pace
_LEAST_EXPECTED = 5.0
_OVERRUN = 0.05  # a part that takes longer than expected goes on for this share of what it took


@dataclass(frozen=True)
class Update:
    """One state of the progress display. `left_seconds` is None while nothing is known. `remark` is
    something that stays on the screen: a guess about the data, a warning."""

    title: str
    note: str
    elapsed_seconds: float
    left_seconds: float | None
    remark: Text | None = None


Watch = Callable[[Update], None]  # called from the exam's thread or from another, never at once


def unwatched(update: Update) -> None:
    """A watcher that shows nothing."""


@dataclass(frozen=True)
class _Part:
    key: str
    title: str
    started: float


@dataclass(frozen=True)
class _Stage:
    """A stretch of the running part with progress of its own; `expected` seconds when it began."""

    name: str
    started: float
    expected: float


class Timeline:
    """Expected seconds per pending part; the running part corrects its own estimate.

    `budget` bounds the whole: what is expected beyond it will not be run. Parts are known by a key
    and shown by a title.
    """

    def __init__(self, budget: float, watch: Watch, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.budget = budget
        self._clock = clock
        self._started = clock()
        self._watch = watch
        self._lock = threading.RLock()
        self._pending: dict[str, float] = {}
        self._part: _Part | None = None
        self._stage: _Stage | None = None
        self._note = ""

    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._started

    def remaining(self) -> float:
        """Seconds of the budget that are left."""
        return self.budget - self.elapsed()

    def expect(self, key: str, seconds: float) -> None:
        """Plan a part, or correct the plan."""
        with self._lock:
            self._pending[key] = seconds

    def drop(self, key: str) -> None:
        """Forget a part that will not run."""
        with self._lock:
            self._pending.pop(key, None)

    def start(self, key: str, title: str | None = None) -> None:
        """A part begins."""
        with self._lock:
            self._part, self._stage = _Part(key, title or key, self._clock()), None
        self.tell("")

    def finish(self) -> float:
        """The running part ends; its seconds."""
        assert self._part is not None  # start() comes first
        with self._lock:
            part, self._part, self._note = self._part, None, ""
            self.drop(part.key)
        return self._clock() - part.started

    def fraction(self, stage: str, share: float, after: float, note: str) -> None:
        """A stage of the running part is this far (0 … 1); `after` seconds follow it.

        The pace seen so far corrects what was expected, the more the longer the stage has run.
        """
        with self._lock:
            if self._part is not None:
                self._pending[self._part.key] = self._estimate(self._part, stage, min(share, 1.0), after)
        self.tell(note)

    def _estimate(self, part: _Part, name: str, share: float, after: float) -> float:
        now = self._clock()
        if self._stage is None or self._stage.name != name:
            left = self._pending.get(part.key, 0.0) - (now - part.started) - after
            self._stage = _Stage(name, now, max(left, _LEAST_EXPECTED))
        ran, prior = now - self._stage.started, _PRIOR * self._stage.expected
        pace = (share + _PRIOR) / (ran + prior)  # shares per second
        return now - part.started + (1.0 - share) / pace + after

    def tell(self, note: str) -> None:
        """Show the present state."""
        with self._lock:
            self._note = note
            self._show()

    def remark(self, text: Text) -> None:
        """Say something that the user should be able to read later."""
        with self._lock:
            self._show(text)

    @contextmanager
    def ticking(self) -> Iterator[None]:
        """Show the state twice a second while the block runs, whatever else happens or does not."""
        ended = threading.Event()

        def tick() -> None:
            with contextlib.suppress(OSError, ValueError):  # nobody reads standard error any more
                while not ended.wait(_TICK_SECONDS):
                    if self._part is not None:
                        self.tell(self._note)

        thread = threading.Thread(target=tick, name="tiku progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _show(self, remark: Text | None = None) -> None:
        title = self._part.title if self._part else ""
        note = "" if remark else self._note
        self._watch(Update(title, note, self.elapsed(), self.left(), remark))

    def left(self) -> float | None:
        """Seconds still expected, never more than the budget has left (but for the running part)."""
        with self._lock:
            pending, part = dict(self._pending), self._part
        if not pending:
            return None
        own, ran = 0.0, 0.0
        if part is not None:
            own, ran = pending.pop(part.key, 0.0), self._clock() - part.started
        now = max(own - ran, _OVERRUN * ran) if part is not None and own else 0.0
        return max(now, min(now + sum(pending.values()), self.remaining()))
