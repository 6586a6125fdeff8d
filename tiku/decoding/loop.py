"""One request, token by token; with a drafter, several tokens for one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tiku.core.generation import Generated, Request
from tiku.core.subject import Session
from tiku.decoding.choosing import Chooser, Draft, Greedy, Sampler, Sampling
from tiku.decoding.text import Text, check_request
from tiku.decoding.track import Track

__all__ = ["Drafter", "decode", "greedy", "sample"]


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
    text = run.text
    text.take(run.track.feed(request.tokens, last_only=True))
    while not text.done:
        # the last token of the limit is never fed, so a draft has room for all before it
        room = request.limit - len(text.made) - 1
        draft = drafter.propose((*request.tokens, *text.made), room) if drafter and room else Draft()
        run.advance(draft)
    return text.result()


class _Run:
    def __init__(self, track: Track, request: Request, chooser: Chooser) -> None:
        self.track = track
        self.text = Text(request, chooser)

    def advance(self, draft: Draft) -> None:
        """Feed the last token and the draft, keep what stands."""
        logits_SV = self.track.feed([self.text.made[-1], *draft.tokens])
        before = self.track.length - len(draft.tokens)
        kept = self.text.take(logits_SV, draft)
        if draft.tokens and not self.text.done:
            self.track.rewind(before + kept)
