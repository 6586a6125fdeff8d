"""Batches that stay within a memory limit: predicted, tried small, fitted, grown, and cut when memory ends.

The longest requests come first, so that the largest batches are met while they are still small. What a batch
took is read from the process's peak: only a batch that set a new peak says exactly how much it needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import psutil

from tiku.artefact.continuing import continuations
from tiku.core.errors import TikuError
from tiku.core.generation import Generated, Request
from tiku.core.residence import address_room, peak_bytes, resident_bytes
from tiku.core.subject import Serve, Session
from tiku.core.units import format_quantity

__all__ = ["AdaptiveBatches", "complete_within", "ran_out", "room_beside"]

_MB = 1_000_000
_MARGIN = 0.9  # of the room: fits are not exact
_GROWTH = 2.0  # the next batch is predicted to take at most so much of the largest so far
_FREE = 0.9  # of what the machine has free, where no limit is given
_SIGNS = (
    "out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "bad_alloc",
    "bad allocation", "failed to allocate", "could not create a memory", "unable to allocate",
)  # fmt: skip


def ran_out(error: BaseException) -> bool:
    """Whether a library says that memory has ended; each says it in its own words."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in _SIGNS)


def room_beside(settings: Mapping[str, float], used: int, pid: int | None = None) -> int:
    """Bytes that requests may take beside the `used` ones. Raises `TikuError` where there are none."""
    limit = int(settings.get("limit_mb", 0) * _MB) or used + int(_FREE * psutil.virtual_memory().available)
    room = limit - used
    if (left := address_room(pid)) is not None:
        room = min(room, left)
    if settings.get("batch_mb"):
        room = min(room, int(settings["batch_mb"] * _MB))
    if room <= 0:
        raise _too_little("the model itself", limit, used)
    return room


class AdaptiveBatches:
    """Kept as long as the artefact is open: what was learned from one call serves the next.

    `settings`: limit_mb (of the process; 0: what the machine has free), batch_mb (of one batch; 0: no bound
    of its own), largest (requests per batch), token_bytes and pair_bytes (predicted bytes for each padded
    token, and for each pair of tokens of one request; 0 where nothing could be predicted).
    """

    def __init__(self, settings: Mapping[str, float], pid: int | None = None) -> None:
        self._settings, self._pid = settings, pid
        self._rates = (settings.get("token_bytes", 0.0), settings.get("pair_bytes", 0.0))
        self._scale: float | None = 1.0 if any(self._rates) else None  # measured / predicted
        self._base = self._room = 0
        self._done = 0.0  # the largest cost that went well
        self._ceiling = float("inf")  # half of the smallest cost that did not
        self.report: dict[str, Any] = {"batches": 0, "largest_batch": 0, "backed_off": 0, "over_limit": 0}

    def run(self, lengths: Sequence[int], answer: Callable[[list[int]], None]) -> None:
        """`answer` each request once, in batches of positions. Raises `TikuError` where one is too much."""
        order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
        if order and not self._base:
            self._begin(order.pop(), lengths, answer)
        while order:
            batch = order[: self._size(order, lengths)]
            if self._answered(batch, lengths, answer):
                del order[: len(batch)]

    def _begin(self, shortest: int, lengths: Sequence[int], answer: Callable[[list[int]], None]) -> None:
        """One short request maps the weights: what is resident then is the model's own."""
        self._answered([shortest], lengths, answer)
        self._base = resident_bytes(self._pid)
        self._room = room_beside(self._settings, self._base, self._pid)
        self.report |= {"model_bytes": self._base, "room_bytes": self._room}

    def _size(self, order: Sequence[int], lengths: Sequence[int]) -> int:
        each = self._cost(1, lengths[order[0]])
        most = min(self._ceiling, max(each, _GROWTH * self._done))
        if self._scale is not None:
            most = min(most, _MARGIN * self._room / self._scale)
        return max(1, min(int(most / each), int(self._settings.get("largest", 256)), len(order)))

    def _cost(self, size: int, longest: int) -> float:
        """Predicted bytes, or padded tokens where nothing is predicted."""
        tokens, pairs = self._rates
        return size * longest * ((tokens + pairs * longest) or 1.0)

    def _answered(
        self, batch: list[int], lengths: Sequence[int], answer: Callable[[list[int]], None]
    ) -> bool:
        cost, before = self._cost(len(batch), max(lengths[i] for i in batch)), peak_bytes(self._pid)
        try:
            answer(batch)
        except Exception as error:
            if not ran_out(error):
                raise
            if len(batch) == 1:
                longest = f"a request of {lengths[batch[0]]} tokens"
                raise _too_little(longest, self._base + self._room, self._base) from error
            self._ceiling = min(self._ceiling, cost / 2)
            self.report["backed_off"] += 1
            return False
        self._learn(len(batch), cost, before)
        return True

    def _learn(self, size: int, cost: float, before: int) -> None:
        peak = peak_bytes(self._pid)
        if self._base and peak > before:
            self._scale = max(peak - self._base, 1) / cost
            self.report["over_limit"] += int(peak > self._base + self._room)
        self._done = max(self._done, cost)
        told = self.report
        told |= {"batches": told["batches"] + 1, "largest_batch": max(told["largest_batch"], size)}
        told["peak_bytes"] = peak


def complete_within(
    session: Session, requests: Sequence[Request], serve: Serve
) -> tuple[list[Generated], dict[str, Any]]:
    """As many requests at once as their caches have room for, fewer when memory ends. Raises `TikuError`."""
    import numpy as np

    pid, settings = getattr(session, "pid", None), serve.memory
    session.extend(np.zeros((1, 1), dtype=np.int64), last_only=True)  # maps the weights
    used = resident_bytes(pid)
    slots, backed_off = _slots(requests, settings, room_beside(settings, used, pid)), 0
    while True:
        try:
            made, report = continuations(session, requests, replace(serve, slots=slots))
        except Exception as error:
            if not ran_out(error):
                raise
            if slots == 1:
                raise _too_little("one request", used, used) from error
            slots, backed_off = slots // 2, backed_off + 1
        else:
            return made, {**report, "slots": slots, "backed_off": backed_off}


def _slots(requests: Sequence[Request], settings: Mapping[str, float], room: int) -> int:
    needs = sorted((settings["cache_bytes"] * (len(r.tokens) + r.limit) for r in requests), reverse=True)
    prompt = max((len(r.tokens) for r in requests), default=0)
    left = _MARGIN * room - prompt * (settings["token_bytes"] + settings["pair_bytes"] * prompt)
    slots = 0
    while slots < min(len(needs), int(settings["largest"])) and left >= needs[slots]:
        left -= needs[slots]
        slots += 1
    return max(1, slots)


def _too_little(what: str, limit: int, used: int) -> TikuError:
    return TikuError(
        f"the memory limit leaves no room for {what}",
        got=f"a limit of {format_quantity(limit, 'byte')}, {format_quantity(used, 'byte')} in use",
        allowed="more than the model takes by itself, with its libraries and one request",
        next_step="raise the limit, cut long requests, or choose a smaller build: tiku ask memory MODEL",
    )
