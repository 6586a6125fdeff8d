"""What a language model is asked: the log-likelihood of a continuation after a context, in tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tiku.core.errors import DataError

__all__ = ["Request", "encode_choices", "fit", "leading_tokens", "start_tokens"]


@dataclass(frozen=True)
class Request:
    """Score `continuation` after `context`; both hold at least one token id."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]

    @property
    def sequence(self) -> tuple[int, ...]:
        """Context and continuation."""
        return self.context + self.continuation


def leading_tokens(tokenizer: Any) -> tuple[int, ...]:
    """The special tokens this tokenizer puts before a text by itself (BOS), () where it puts none."""
    bare = _ids(tokenizer, ["a"])[0]
    full = list(tokenizer("a", verbose=False)["input_ids"])
    at = next((i for i in range(len(full)) if full[i : i + len(bare)] == bare), 0)
    return tuple(full[:at])


def start_tokens(tokenizer: Any) -> tuple[int, ...]:
    """What stands before a text that has no context: the leading tokens, else BOS, else EOS, else ()."""
    fallback = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    return leading_tokens(tokenizer) or (() if fallback is None else (fallback,))


def encode_choices(
    tokenizer: Any, contexts: Sequence[str], continuations: Sequence[Sequence[str]]
) -> list[list[Request]]:
    """One request per continuation of each context.

    Context and continuation are tokenised together and split where the context's own tokens end,
    after white space at the end of the context has moved to the continuations (as
    lm-evaluation-harness does). Where a token grows across the join, the split moves back to the
    last token that all continuations share with the context, so that they are scored from one point.
    Raises `DataError` for an empty option, and for an empty context that no token can start.
    """
    pairs = [_move_space(context, texts) for context, texts in zip(contexts, continuations, strict=True)]
    whole = iter(_ids(tokenizer, [context + text for context, texts in pairs for text in texts]))
    leading = leading_tokens(tokenizer)
    requests = []
    for (context, texts), own in zip(pairs, _ids(tokenizer, [c for c, _ in pairs]), strict=True):
        sequences = [next(whole) for _ in texts]
        _check_continuations(context, texts, sequences)
        cut = min(min(_common(own, ids), len(ids) - 1) for ids in sequences)
        start = (*leading, *own[:cut]) or _start_of_nothing(tokenizer)
        requests.append([Request(tuple(start), tuple(ids[cut:])) for ids in sequences])
    return requests


def fit(requests: Sequence[Request], limit: int, keep: int = 0) -> tuple[list[Request], int]:
    """(requests that a model of `limit` positions can take, how many were cut).

    Contexts lose tokens on the left, after their first `keep` (the leading special tokens). The last
    token is predicted and never fed. Raises `DataError` when a continuation alone is too long.
    """
    fitted, cut = [], 0
    for request in requests:
        surplus = len(request.context) + len(request.continuation) - 1 - limit
        if surplus > 0:
            request = _shorten(request, surplus, keep, limit)
            cut += 1
        fitted.append(request)
    return fitted, cut


def _shorten(request: Request, surplus: int, keep: int, limit: int) -> Request:
    if surplus >= len(request.context) - keep:
        raise DataError(
            "a continuation is longer than the model's context",
            got=f"{len(request.continuation)} tokens",
            allowed=f"at most {limit} tokens",
            next_step="shorten the options, or use a model with a longer context",
        )
    return replace(request, context=request.context[:keep] + request.context[keep + surplus :])


def _start_of_nothing(tokenizer: Any) -> tuple[int, ...]:
    start = start_tokens(tokenizer)
    if not start:
        raise DataError(
            "a question without a context cannot be scored: the tokenizer has no start or end token",
            got="an empty context",
            allowed="a context of at least one token",
            next_step="put some text before the options",
        )
    return start


def _move_space(context: str, texts: Sequence[str]) -> tuple[str, list[str]]:
    bare = context.rstrip()
    space = context[len(bare) :]
    return bare, [space + text for text in texts]


def _check_continuations(context: str, texts: Sequence[str], sequences: Sequence[Sequence[int]]) -> None:
    for text, ids in zip(texts, sequences, strict=True):
        if not text.strip() or not ids:
            raise DataError(
                "an option is empty",
                got=f"an option of {context[-60:]!r}",
                allowed="options with text",
                next_step="remove the question or fill the option in",
            )


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    length = min(len(a), len(b))
    return next((i for i in range(length) if a[i] != b[i]), length)


def _ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    filled = [text for text in texts if text]  # some tokenizers refuse the empty text
    encoded = tokenizer(filled, add_special_tokens=False, verbose=False)["input_ids"] if filled else []
    ids = iter(encoded)
    return [list(next(ids)) if text else [] for text in texts]
