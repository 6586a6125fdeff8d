"""Requests into batches: a pure function of the lengths and of `Serve`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tiku.core.subject import Serve

__all__ = ["padded_tokens", "plan_batches"]


def plan_batches(lengths: Sequence[int], serve: Serve) -> list[list[int]]:
    """Positions grouped into batches; every position exactly once.

    With `token_budget` a batch grows while (members x longest member) stays within the budget, and
    one request that is longer than the budget goes alone; without it `batch_size` decides. Sorted
    batches come longest first: the largest allocation then happens once, at the start. Several streams
    get a batch each where there are requests for it.
    """
    order = list(range(len(lengths)))
    if serve.sort_by_length:
        order.sort(key=lambda i: -lengths[i])
    if serve.token_budget is None:
        size = min(serve.batch_size, max(1, math.ceil(len(order) / serve.streams)))
        return [order[i : i + size] for i in range(0, len(order), size)]
    return _within_budget(
        order, lengths, min(serve.token_budget, max(1, math.ceil(sum(lengths) / serve.streams)))
    )


def padded_tokens(lengths: Sequence[int], batches: Sequence[Sequence[int]]) -> int:
    """Tokens computed, padding included."""
    return sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)


def _within_budget(order: list[int], lengths: Sequence[int], budget: int) -> list[list[int]]:
    batches: list[list[int]] = []
    longest = 0
    for i in order:
        longest = max(longest, lengths[i])
        if batches and longest * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(i)
        else:
            batches.append([i])
            longest = lengths[i]
    return batches
