"""Requests to a language model, decoded as its `Serve` says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tiku.core.errors import ArtefactError
from tiku.core.generation import Generated, Request
from tiku.core.subject import Serve, Session

if TYPE_CHECKING:
    from tiku.decoding.loop import Drafter

__all__ = ["SPECULATION", "continuations", "drafters"]

SPECULATION = ("prompt-lookup", "self-speculative")


def continuations(
    session: Session, requests: Sequence[Request], serve: Serve
) -> tuple[list[Generated], dict[str, Any]]:
    """Greedy, in the order of the requests, and the shared cache's report where there is one.

    Raises `DataError`, `CannotMeasure`, `ArtefactError`.
    """
    from tiku.decoding import decode_together, greedy

    if serve.slots > 1 and serve.speculation is None:
        return decode_together(session, requests, serve.slots)
    drafter = drafters(session, serve)
    return [greedy(session, request, drafter()) for request in requests], {}


def drafters(session: Session, serve: Serve) -> Callable[[], Drafter | None]:
    """Gives a drafter for each request, or None. Raises `ArtefactError`."""
    from tiku.decoding import DraftModel, PromptLookup

    if serve.speculation is None:
        return lambda: None
    if serve.speculation == "prompt-lookup":
        return lambda: PromptLookup(serve.draft_tokens)
    if serve.speculation == "self-speculative" and serve.draft_layers is not None:
        early = session.early_exit(serve.draft_layers)
        return lambda: DraftModel(early, serve.draft_tokens)
    raise ArtefactError(
        "this tiku has no speculation of the name the artefact asks for",
        got=serve.speculation,
        allowed=SPECULATION,
        next_step="install a newer tiku",
    )
