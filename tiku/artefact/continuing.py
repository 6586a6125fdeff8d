"""Requests to a language model, decoded as its `Serve` says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tiku.core.errors import ArtefactError
from tiku.core.generation import Generated, Request
from tiku.core.subject import Serve, Session

if TYPE_CHECKING:
    from tiku.decoding.loop import Drafter

__all__ = ["SPECULATION", "continuations"]

SPECULATION = ("prompt-lookup",)


def continuations(
    session: Session, requests: Sequence[Request], serve: Serve
) -> tuple[list[Generated], dict[str, Any]]:
    """Greedy, in the order of the requests, and the shared cache's report where there is one.

    Raises `DataError`, `CannotMeasure`, `ArtefactError`.
    """
    from tiku.decoding import decode_together, greedy

    drafter = _drafter(serve)
    if serve.slots > 1 and drafter is None:
        return decode_together(session, requests, serve.slots)
    return [greedy(session, request, drafter) for request in requests], {}


def _drafter(serve: Serve) -> Drafter | None:
    from tiku.decoding import PromptLookup

    if serve.speculation is None:
        return None
    if serve.speculation not in SPECULATION:
        raise ArtefactError(
            "this tiku has no speculation of the name the artefact asks for",
            got=serve.speculation,
            allowed=SPECULATION,
            next_step="install a newer tiku",
        )
    return PromptLookup(serve.draft_tokens)
