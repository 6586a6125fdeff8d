"""Sessions whose next-token distribution is a table: what is generated can be worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiku.core.subject import Session


class TableSession(Session):
    """The next token depends on the last `order` tokens, through a fixed random table.

    The cache is the list of tokens, so every misuse of it (not cut back, cut too far) changes the text.
    """

    runtime = "table"

    def __init__(self, vocabulary: int, order: int, seed: int, scale: float = 2.0) -> None:
        self.vocabulary, self.order = vocabulary, order
        draw = np.random.default_rng(seed)
        self.table = scale * draw.standard_normal((vocabulary,) * order + (vocabulary,))
        self.forwards = 0
        self.fed: list[int] = []

    def logits_after(self, tokens: list[int]) -> NDArray[np.float32]:
        last = [*([0] * self.order), *tokens][-self.order :]
        return np.asarray(self.table[tuple(last)], dtype=np.float32)

    def run(self, inputs: Any) -> NDArray[np.float32]:
        raise NotImplementedError

    def extend(self, tokens_BT: Any, cache: Any = None, *, last_only: bool = False) -> Any:
        self.forwards += 1
        self.fed.append(tokens_BT.shape[1])
        held = list(cache or [])
        rows = []
        for token in tokens_BT[0]:
            held.append(int(token))
            rows.append(self.logits_after(held))
        logits = np.stack(rows)[None]
        return (logits[:, -1:] if last_only else logits), held

    def crop(self, cache: Any, length: int) -> Any:
        assert length <= len(cache)
        return cache[:length]


class CachelessSession(TableSession):
    """Keeps a cache that cannot be cut."""

    def crop(self, cache: Any, length: int) -> Any:
        return Session.crop(self, cache, length)
