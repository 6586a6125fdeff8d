"""What is left to do and how long it will take: the truth behind the progress bar."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tiku.core.text import Text

__all__ = ["Timeline", "Update", "Watch", "unwatched"]


@dataclass(frozen=True)
class Update:
    """One state of the progress display. `left_seconds` is None while nothing is known. `remark` is
    something that stays on the screen: a guess about the data, a warning."""

    title: str
    note: str
    elapsed_seconds: float
    left_seconds: float | None
    remark: Text | None = None


Watch = Callable[[Update], None]


def unwatched(update: Update) -> None:
    """A watcher that shows nothing."""


class Timeline:
    """Expected seconds per pending part; the running part corrects its own estimate.

    `budget` bounds the whole: what is expected beyond it will not be run.
    """

    def __init__(self, budget: float, watch: Watch) -> None:
        self._started = time.monotonic()
        self._watch = watch
        self._pending: dict[str, float] = {}
        self._current: tuple[str, float] | None = None  # title, started
        self._stage: tuple[str, float] | None = None  # of the running part: name, started
        self.budget = budget

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def remaining(self) -> float:
        """Seconds of the budget that are left."""
        return self.budget - self.elapsed()

    def expect(self, title: str, seconds: float) -> None:
        """Plan a part, or correct the plan."""
        self._pending[title] = seconds

    def drop(self, title: str) -> None:
        """Forget a part that will not run."""
        self._pending.pop(title, None)

    def start(self, title: str) -> None:
        """A part begins."""
        self._current, self._stage = (title, time.monotonic()), None
        self.tell("")

    def finish(self) -> float:
        """The running part ends; its seconds."""
        assert self._current is not None  # start() comes first
        title, started = self._current
        self._current = None
        self.drop(title)
        return time.monotonic() - started

    def fraction(self, stage: str, share: float, after: float, note: str) -> None:
        """A stage of the running part is this far (0 … 1); `after` seconds follow it.

        The part's expected time follows from the stage's own pace.
        """
        if self._current is not None:
            title, started = self._current
            now = time.monotonic()
            if self._stage is None or self._stage[0] != stage:
                self._stage = (stage, now)
            ran = now - self._stage[1]
            if share > 0.02 and ran > 0.5:
                self._pending[title] = self._stage[1] - started + ran / min(share, 1.0) + after
        self.tell(note)

    def tell(self, note: str) -> None:
        """Show the present state."""
        title = self._current[0] if self._current else ""
        self._watch(Update(title, note, self.elapsed(), self.left()))

    def remark(self, text: Text) -> None:
        """Say something that the user should be able to read later."""
        title = self._current[0] if self._current else ""
        self._watch(Update(title, "", self.elapsed(), self.left(), text))

    def left(self) -> float | None:
        """Seconds still expected, never more than the budget has left (but for the running part)."""
        if not self._pending:
            return None
        ran = time.monotonic() - self._current[1] if self._current else 0.0
        own = self._pending.get(self._current[0], 0.0) if self._current else 0.0
        others = sum(
            s for title, s in self._pending.items() if not self._current or title != self._current[0]
        )
        now = max(own - ran, 0.0)
        return max(now, min(now + others, self.remaining()))
