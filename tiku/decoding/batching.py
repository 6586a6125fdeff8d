"""Several requests at once: who is done leaves the batch, who waits enters (Orca, Yu et al. 2022)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiku.core.generation import Generated, Request
from tiku.core.subject import Rows, Session
from tiku.decoding.choosing import Chooser, Greedy
from tiku.decoding.text import Text, check_request

__all__ = ["decode_together"]


def decode_together(
    session: Session,
    requests: Sequence[Request],
    slots: int,
    *,
    chooser: Callable[[int], Chooser] = lambda number: Greedy(),
) -> tuple[list[Generated], dict[str, Any]]:
    """At most `slots` requests at a time; what each got in the order of the requests, and the report
    on the cache.

    `chooser(i)` decides over request i. Texts are those of one request at a time, up to ties closer than
    the rounding of a batch. Requests that may run longest enter first, so that the batch stays full to
    the end. Raises `DataError` for an empty prompt, `CannotMeasure` where the session keeps no rows.
    """
    for request in requests:
        check_request(request)
    texts = [Text(request, chooser(i)) for i, request in enumerate(requests)]
    waiting = [i for i, text in enumerate(texts) if not text.done]
    if not waiting:
        return [text.result() for text in texts], {}
    longest = sorted((len(requests[i].tokens) + requests[i].limit for i in waiting), reverse=True)[:slots]
    batch = _Batch(session.rows(longest), requests, texts)
    waiting.sort(key=lambda i: requests[i].limit)
    while waiting or batch.running:
        while waiting and len(batch.running) < slots:
            batch.enter(waiting.pop())
        batch.step()
    return [text.result() for text in texts], batch.rows.report()


class _Batch:
    def __init__(self, rows: Rows, requests: Sequence[Request], texts: Sequence[Text]) -> None:
        self.rows = rows
        self.running: dict[int, Text] = {}  # by row
        self._requests, self._texts = requests, texts

    def enter(self, number: int) -> None:
        row, logits_V = self.rows.enter(self._requests[number].tokens)
        self.running[row] = self._texts[number]
        self._take(row, logits_V)

    def step(self) -> None:
        if not self.running:
            return
        fed = {row: text.made[-1] for row, text in self.running.items()}
        for row, logits_V in zip(fed, self.rows.step(fed), strict=True):
            self._take(row, logits_V)

    def _take(self, row: int, logits_V: NDArray[np.float32]) -> None:
        text = self.running[row]
        text.take(logits_V[None])
        if text.done:
            self.rows.leave(row)
            del self.running[row]
