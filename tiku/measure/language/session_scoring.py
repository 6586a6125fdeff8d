"""Scoring through `Session` alone: works in every runtime. S scored tokens, V vocabulary."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiku.core.errors import CannotMeasure
from tiku.core.method import Progress
from tiku.core.subject import Session
from tiku.measure.language.packing import shared_prefix
from tiku.measure.language.requests import Request

__all__ = ["TokenScores", "cached", "plain"]

TokenScores = tuple[NDArray[np.float64], NDArray[np.bool_]]  # (log-probability, most likely one) per token


def plain(
    session: Session, requests: Sequence[Request], pad: int, batch_tokens: int, progress: Progress
) -> TokenScores:
    """Whole sequences through `run`, right-padded, at most `batch_tokens` padded tokens at once."""
    found: dict[int, TokenScores] = {}
    for batch in _batches(requests, batch_tokens):
        fed = [requests[i].sequence[:-1] for i in batch]
        width = max(map(len, fed))
        tokens_BT = np.full((len(fed), width), pad, dtype=np.int64)
        mask_BT = np.zeros_like(tokens_BT)
        for row, ids in enumerate(fed):
            tokens_BT[row, : len(ids)], mask_BT[row, : len(ids)] = ids, 1
        logits_BTV = session.run({"input_ids": tokens_BT, "attention_mask": mask_BT})
        for row, i in enumerate(batch):
            start = len(requests[i].context) - 1
            found[i] = _of(logits_BTV[row, start : len(fed[row])], requests[i].continuation)
        progress(len(found), len(requests), "log-likelihoods")
    return _in_order(found)


def cached(session: Session, requests: Sequence[Request], progress: Progress) -> TokenScores | str:
    """Prefix once, each context once, continuations after copies of its cache; or why not."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, request in enumerate(requests):
        groups.setdefault(request.context, []).append(i)
    shared = shared_prefix(requests)
    if not shared and len(groups) == len(requests):
        return "no two requests begin alike"
    try:
        return _through_caches(session, requests, groups, shared, progress)
    except CannotMeasure as error:
        return error.what
    except (
        TypeError,
        NotImplementedError,
        copy.Error,
        RuntimeError,
    ) as error:  # a cache that cannot be copied
        return f"the cache cannot be copied ({type(error).__name__}: {error})"


def _through_caches(
    session: Session,
    requests: Sequence[Request],
    groups: dict[tuple[int, ...], list[int]],
    shared: int,
    progress: Progress,
) -> TokenScores:
    found: dict[int, TokenScores] = {}
    trunk = session.extend(_row(requests[0].context[:shared]), last_only=True)[1] if shared else None
    for number, (context, members) in enumerate(groups.items()):
        after_1V, stem = _extend(session, context[shared:], trunk, last_only=True)
        for i in members:
            answer = requests[i].continuation
            rows = [after_1V]
            if len(answer) > 1:
                rows.append(_extend(session, answer[:-1], stem)[0])
            found[i] = _of(np.concatenate(rows), answer)
        progress(number + 1, len(groups), "log-likelihoods")
    return _in_order(found)


def _extend(
    session: Session, tokens: Sequence[int], cache: Any, last_only: bool = False
) -> tuple[NDArray[np.float32], Any]:
    """(logits_SV, new cache); the given cache stays as it is."""
    logits_1SV, grown = session.extend(_row(tokens), copy.deepcopy(cache), last_only=last_only)
    return logits_1SV[0], grown


def _row(tokens: Sequence[int]) -> NDArray[np.int64]:
    return np.array([tokens], dtype=np.int64)


def _of(logits_SV: NDArray[np.float32], targets: Sequence[int]) -> TokenScores:
    chosen_S = logits_SV[np.arange(len(targets)), list(targets)]
    peak_S = logits_SV.max(axis=1)
    total_S = np.exp(logits_SV - peak_S[:, None]).sum(axis=1, dtype=np.float64)
    nats_S = chosen_S.astype(np.float64) - peak_S - np.log(total_S)
    return nats_S, logits_SV.argmax(axis=1) == np.asarray(targets)


def _in_order(found: dict[int, TokenScores]) -> TokenScores:
    nats, greedy = zip(*(found[i] for i in range(len(found))), strict=True)
    return np.concatenate(nats), np.concatenate(greedy)


def _batches(requests: Sequence[Request], batch_tokens: int) -> Iterator[list[int]]:
    """Indices in batches of like length."""
    batch: list[int] = []
    for i in sorted(range(len(requests)), key=lambda i: len(requests[i].sequence)):
        if batch and (len(batch) + 1) * len(requests[i].sequence) > batch_tokens:
            yield batch
            batch = []
        batch.append(i)
    yield batch
