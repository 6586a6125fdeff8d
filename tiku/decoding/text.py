"""The text of one request while it grows. S logits, one for each drafted token and one more; V vocabulary."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiku.core.errors import DataError
from tiku.core.generation import Generated, Request
from tiku.decoding.choosing import Chooser, Draft

__all__ = ["Text", "check_request"]

_NOTHING = Draft()


def check_request(request: Request) -> None:
    """Raises `DataError` for a prompt without tokens."""
    if not request.tokens:
        raise DataError(
            "an empty prompt gives this model nothing to continue",
            got="no tokens",
            allowed="a prompt of one token or more",
            next_step="write a word, or begin with the model's own start token",
        )


class Text:
    """What was generated so far; `done` at a stop token or the limit."""

    def __init__(self, request: Request, chooser: Chooser) -> None:
        self.made: list[int] = []
        self.done = request.limit < 1
        self._request = request
        self._chooser = chooser
        self._ended = False
        self._forwards = self._proposed = self._accepted = 0

    def take(self, logits_SV: NDArray[np.float32], draft: Draft = _NOTHING) -> int:
        """Add the tokens that the chooser takes from one forward pass; how many of the draft stood."""
        self._forwards += 1
        chosen = self._chooser.choose(logits_SV, draft)
        kept = len(chosen) - 1
        self._proposed, self._accepted = self._proposed + len(draft.tokens), self._accepted + kept
        for token in chosen:
            if token in self._request.stop:
                self.done = self._ended = True
                break
            self.made.append(token)
            self.done = len(self.made) >= self._request.limit
        return kept

    def result(self) -> Generated:
        """The tokens and their cost."""
        return Generated(tuple(self.made), self._ended, self._forwards, self._proposed, self._accepted)
