"""Requests into batches: a pure function of the lengths and of `Serve`."""

from __future__ import annotations

from collections.abc import Sequence

from tiku.core.subject import Serve

__all__ = ["padded_tokens", "plan_batches"]


def plan_batches(lengths: Sequence[int], serve: Serve) -> list[list[int]]:
    """Positions grouped into batches; every position exactly once.

    With `token_budget` a batch grows while (members x longest member) stays within the budget, and
    one request that is longer than the budget goes alone; without it `batch_size` decides. Sorted
    batches come longest first: the largest allocation then happens once, at the start.
    """
    order = list(range(len(lengths)))
    if serve.sort_by_length:
        order.sort(key=lambda i: -lengths[i])
    if serve.token_budget is None:
        return [order[i : i + serve.batch_size] for i in range(0, len(order), serve.batch_size)]
    return _within_budget(order, lengths, serve.token_budget)


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
