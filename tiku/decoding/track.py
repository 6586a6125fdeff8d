"""A session's cache and the number of tokens it holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiku.core.subject import Session

__all__ = ["Track"]


class Track:
    """One sequence in a session. V vocabulary, T tokens fed.

    `rewinds`: the track will be cut back later. The session is told at the first feeding, when a model
    that cannot do it is refused before anything was generated.
    """

    def __init__(self, session: Session, *, rewinds: bool) -> None:
        self._session = session
        self._rewinds = rewinds
        self._cache: Any = None
        self.length = 0

    def feed(self, tokens: Sequence[int], *, last_only: bool = False) -> NDArray[np.float32]:
        """logits_TV of the tokens (logits_1V with `last_only`). Raises `CannotMeasure`."""
        ids_BT = np.asarray([tokens], dtype=np.int64)
        logits_BTV, self._cache = self._session.extend(ids_BT, self._cache, last_only=last_only)
        first, self.length = self.length == 0, self.length + len(tokens)
        if first and self._rewinds:
            self.rewind(self.length)
        logits_TV: NDArray[np.float32] = logits_BTV[0]
        return logits_TV

    def rewind(self, length: int) -> None:
        """Forget all but the first `length` tokens. Raises `CannotMeasure`."""
        if length == 0:
            self._cache = None
        else:
            self._cache = self._session.crop(self._cache, length)
        self.length = length
