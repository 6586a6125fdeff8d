"""Requests into batches: a pure function of the lengths and of `Serve`."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

from tiku.core.subject import Serve

__all__ = ["padded_tokens", "plan_batches"]

_CALL = 32  # tokens that take as long as a batch of none (minilm, OpenVINO, static int8)
_MANY = 32  # batches for each stream: beyond, one more or less hardly matters
_NEARLY = 1.02


def plan_batches(lengths: Sequence[int], serve: Serve) -> list[list[int]]:
    """Positions grouped into batches; every position exactly once.

    With `token_budget` a batch grows while (members x longest member) stays within the budget, and
    one request that is longer than the budget goes alone; without it `batch_size` decides. Sorted
    batches come longest first: the largest allocation then happens once, at the start. Several streams
    get a batch each where there are requests for it, and smaller batches where that lets them end together.
    """
    order = list(range(len(lengths)))
    if serve.sort_by_length:
        order.sort(key=lambda i: -lengths[i])
    cut, most, work = _of_size, serve.batch_size, len(order)
    if serve.token_budget is not None:
        cut, most, work = _within_budget, serve.token_budget, sum(lengths)
    most = min(most, max(1, math.ceil(work / serve.streams)))
    plan = cut(order, lengths, most)
    if serve.streams == 1 or _even(lengths, plan, serve.streams):
        return plan
    smaller = (cut(order, lengths, max(1, most * share // 32)) for share in range(31, 15, -1))
    return min((plan, *smaller), key=lambda batches: _until_all_end(lengths, batches, serve.streams))


def padded_tokens(lengths: Sequence[int], batches: Sequence[Sequence[int]]) -> int:
    """Tokens computed, padding included."""
    return sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)


def _even(lengths: Sequence[int], batches: Sequence[Sequence[int]], streams: int) -> bool:
    """Whether streams end nearly together, as they do where each has many batches."""
    share = (len(batches) * _CALL + padded_tokens(lengths, batches)) / streams
    return len(batches) > _MANY * streams or _until_all_end(lengths, batches, streams) <= _NEARLY * share


def _until_all_end(lengths: Sequence[int], batches: Sequence[Sequence[int]], streams: int) -> int:
    """When the last stream ends, in tokens, where whichever is free first takes the next batch."""
    busy = [0] * streams
    for batch in batches:
        heapq.heapreplace(busy, busy[0] + _CALL + padded_tokens(lengths, [batch]))
    return max(busy)


def _of_size(order: list[int], lengths: Sequence[int], most: int) -> list[list[int]]:
    return [order[i : i + most] for i in range(0, len(order), most)]


def _within_budget(order: list[int], lengths: Sequence[int], most: int) -> list[list[int]]:
    batches: list[list[int]] = []
    longest = 0
    for i in order:
        longest = max(longest, lengths[i])
        if batches and longest * (len(batches[-1]) + 1) <= most:
            batches[-1].append(i)
        else:
            batches.append([i])
            longest = lengths[i]
    return batches
