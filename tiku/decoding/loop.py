"""One request, token by token; with a drafter, several tokens for one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tiku.core.errors import DataError
from tiku.core.generation import Generated, Request
from tiku.core.subject import Session
from tiku.decoding.choosing import Chooser, Draft, Greedy, Sampler, Sampling
from tiku.decoding.track import Track

__all__ = ["Drafter", "check_request", "decode", "greedy", "sample"]


class Drafter(Protocol):
    """Guesses how a text goes on, cheaper than the model."""

    def propose(self, tokens: Sequence[int], room: int) -> Draft:
        """At most `room` tokens after `tokens` (the prompt and what was generated)."""
        ...


def greedy(session: Session, request: Request, drafter: Drafter | None = None) -> Generated:
    """The likeliest token at each step. A drafter changes the cost and not the tokens, up to ties that
    are closer than the rounding of a forward pass over several tokens."""
    return decode(session, request, Greedy(), drafter)


def sample(
    session: Session, request: Request, sampling: Sampling, drafter: Drafter | None = None
) -> Generated:
    """Draws each token; a drafter changes which ones a seed gives, and not their distribution."""
    return decode(session, request, Sampler(sampling), drafter)


def decode(session: Session, request: Request, chooser: Chooser, drafter: Drafter | None = None) -> Generated:
    """Generate until a stop token or the limit.

    The cache always holds the whole text but its last token, so a rejected draft is cut away by
    length. Raises `DataError` for an empty prompt, and `CannotMeasure` where the session keeps no
    cache or, with a drafter, one that cannot be cut back.
    """
    check_request(request)
    if request.limit < 1:
        return Generated((), False, 0)
    run = _Run(Track(session, rewinds=drafter is not None), request, chooser)
    run.take(run.track.feed(request.tokens, last_only=True), Draft())
    while not run.done:
        # the last token of the limit is never fed, so a draft has room for all before it
        room = request.limit - len(run.made) - 1
        draft = drafter.propose((*request.tokens, *run.made), room) if drafter and room else Draft()
        run.advance(draft)
    return run.result()


def check_request(request: Request) -> None:
    """Raises `DataError` for a prompt without tokens."""
    if not request.tokens:
        raise DataError(
            "an empty prompt gives this model nothing to continue",
            got="no tokens",
            allowed="a prompt of one token or more",
            next_step="write a word, or begin with the model's own start token",
        )


class _Run:
    def __init__(self, track: Track, request: Request, chooser: Chooser) -> None:
        self.track = track
        self.made: list[int] = []
        self.done = False
        self._request = request
        self._chooser = chooser
        self._ended = False
        self._forwards = self._proposed = self._accepted = 0

    def advance(self, draft: Draft) -> None:
        """Feed the last token and the draft, keep what stands."""
        logits_SV = self.track.feed([self.made[-1], *draft.tokens])
        self._proposed += len(draft.tokens)
        before = self.track.length - len(draft.tokens)
        kept = self.take(logits_SV, draft)
        self._accepted += kept
        if draft.tokens and not self.done:
            self.track.rewind(before + kept)

    def take(self, logits_SV: NDArray[np.float32], draft: Draft) -> int:
        """Add the chosen tokens up to a stop token or the limit; how many of the draft stood."""
        self._forwards += 1
        chosen = self._chooser.choose(logits_SV, draft)
        for token in chosen:
            if token in self._request.stop:
                self.done = self._ended = True
                break
            self.made.append(token)
            self.done = len(self.made) >= self._request.limit
        return len(chosen) - 1

    def result(self) -> Generated:
        return Generated(tuple(self.made), self._ended, self._forwards, self._proposed, self._accepted)
