"""Drafters: what a text may go on with, guessed without the model or with a smaller one.

Shape letters: V vocabulary, K drafted tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiku.core.subject import Session
from tiku.decoding.choosing import Draft, Sampling, distribution, draw
from tiku.decoding.track import Track

__all__ = ["DraftModel", "PromptLookup"]


@dataclass(frozen=True)
class PromptLookup:
    """Proposes what followed when the last tokens stood in the text before.

    The longest match of `longest` down to `shortest` tokens counts, and of equal ones the latest.
    (Saxena 2023, prompt lookup decoding; Yang et al. 2023, LLMA.)
    """

    draft_tokens: int = 8
    longest: int = 3
    shortest: int = 2

    def propose(self, tokens: Sequence[int], room: int) -> Draft:
        """At most `draft_tokens` tokens; none where the last `shortest` tokens are new."""
        text = np.asarray(tokens, dtype=np.int64)
        for size in range(min(self.longest, text.size - 1), self.shortest - 1, -1):
            at = _latest(text, size)
            if at is not None:
                after = text[at + size : at + size + min(self.draft_tokens, room)]
                return Draft(tuple(int(token) for token in after))
        return Draft()


def _latest(text: NDArray[np.int64], size: int) -> int | None:
    """Where the last `size` tokens stood before (they may overlap with themselves), latest first."""
    before = np.lib.stride_tricks.sliding_window_view(text[:-1], size)
    found = np.flatnonzero((before == text[-size:]).all(axis=1))
    return int(found[-1]) if found.size else None


class DraftModel:
    """A model of the same vocabulary that runs ahead; it keeps its own cache, so one per request.

    Without `sampling` it proposes its likeliest tokens. With it, it draws from its own distribution,
    shaped alike: that is what the acceptance rule expects of it.
    """

    def __init__(self, session: Session, draft_tokens: int = 4, sampling: Sampling | None = None) -> None:
        self._track = Track(session, rewinds=True)
        self._held: list[int] = []
        self._draft_tokens = draft_tokens
        self._sampling = sampling
        # other draws than the sampler's: a shared stream would tie the draft to its acceptance
        self._rng = np.random.default_rng([1, sampling.seed]) if sampling else None

    def propose(self, tokens: Sequence[int], room: int) -> Draft:
        """`min(draft_tokens, room)` tokens."""
        made: list[int] = []
        chances_KV: list[NDArray[np.float64]] = []
        fed = self._behind(tokens)
        while len(made) < min(self._draft_tokens, room):
            logits_V = self._feed(fed)
            fed = [self._next(logits_V, chances_KV)]
            made += fed
        return Draft(tuple(made), chances_KV or None)

    def _behind(self, tokens: Sequence[int]) -> list[int]:
        """Cut back to what the text and the cache share; the tokens still to be fed, one at least."""
        shared = 0
        for ours, theirs in zip(self._held, tokens[:-1], strict=False):
            if ours != theirs:
                break
            shared += 1
        if shared < len(self._held):
            self._track.rewind(shared)
            del self._held[shared:]
        return list(tokens[shared:])

    def _feed(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        self._held += tokens
        logits_V: NDArray[np.float32] = self._track.feed(tokens, last_only=True)[-1]
        return logits_V

    def _next(self, logits_V: NDArray[np.float32], chances_KV: list[NDArray[np.float64]]) -> int:
        if self._sampling is None or self._rng is None:
            return int(logits_V.argmax())
        chances_KV.append(distribution(logits_V, self._sampling))
        return draw(chances_KV[-1], self._rng)
