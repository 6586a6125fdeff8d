"""`Request` and `Generated`: what a language model is asked to continue, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Generated", "Request"]


@dataclass(frozen=True)
class Request:
    """A prompt of one token or more, at most `limit` new tokens, and the tokens that end the text."""

    tokens: tuple[int, ...]
    limit: int
    stop: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Generated:
    """New tokens without the one that ended them (`ended`), and what they cost.

    `forwards` counts forward passes of the model that this request took part in, the prompt's
    included; of the `proposed` draft tokens `accepted` were right.
    """

    tokens: tuple[int, ...]
    ended: bool
    forwards: int
    proposed: int = 0
    accepted: int = 0
