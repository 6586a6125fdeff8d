"""Many requests in one row without padding: a prefix tree, whose mask lets a token see its ancestors.

Requests that begin alike share the nodes of their common beginning, so a question's context is fed
once for all its options. The last token of a continuation is predicted and never fed.
T nodes of one pack, S scored tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tiku.measure.language.requests import Request

__all__ = ["Pack", "pack", "shared_prefix"]

_WORTH_SHARING = 8  # tokens; a shorter prefix costs more in bookkeeping than it saves


@dataclass(frozen=True)
class Pack:
    """One forward pass. `depth_T` counts from the end of the shared prefix; `sees_TT[i, j]` says that
    node i attends to node j (None: a single plain sequence, each node sees all before it); `rows_S` is
    the node whose logits predict `targets_S`, and `slots_S` the place of that score among the tokens of
    all continuations, request after request."""

    tokens_T: NDArray[np.int64]
    depth_T: NDArray[np.int64]
    sees_TT: NDArray[np.bool_] | None
    rows_S: NDArray[np.int64]
    targets_S: NDArray[np.int64]
    slots_S: NDArray[np.int64]


def shared_prefix(requests: Sequence[Request]) -> int:
    """Tokens that all contexts begin with, always leaving each context one token of its own."""
    if len(requests) < 2:
        return 0
    first, last = min(r.context for r in requests), max(r.context for r in requests)
    shortest = min(len(r.context) for r in requests) - 1
    differs = (i for i in range(min(len(first), len(last), shortest)) if first[i] != last[i])
    length = next(differs, shortest)
    return length if length >= _WORTH_SHARING else 0


def pack(requests: Sequence[Request], shared: int, budget: int) -> list[Pack]:
    """Packs of at most `budget` nodes (one request that is longer fills a pack alone).

    The result does not depend on the order of the requests: they are packed in the order of their
    tokens, which also brings like beginnings together.
    """
    packs: list[Pack] = []
    tree = _Tree(shared)
    slots = np.cumsum([0, *(len(r.continuation) for r in requests)])
    for i in sorted(range(len(requests)), key=lambda i: requests[i].sequence):
        request = requests[i]
        if tree.tokens and len(tree.tokens) + tree.new_nodes(request) > budget:
            packs.append(tree.finish())
            tree = _Tree(shared)
        tree.add(request, int(slots[i]))
    return [*packs, tree.finish()] if tree.tokens else packs


@dataclass
class _Tree:
    shared: int
    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    scored: list[tuple[int, int, int]] = field(default_factory=list)  # row, target, slot
    children: dict[tuple[int, int], int] = field(default_factory=dict)  # (parent, token) -> node

    def new_nodes(self, request: Request) -> int:
        fed = request.sequence[self.shared : -1]
        node = -1
        for done, token in enumerate(fed):
            found = self.children.get((node, token))
            if found is None:
                return len(fed) - done
            node = found
        return 0

    def add(self, request: Request, slot: int) -> None:
        fed = request.sequence[self.shared : -1]
        first_row = len(request.context) - self.shared - 1
        node = -1
        for step, token in enumerate(fed):
            node = self._child(node, token)
            if step >= first_row:
                at = step - first_row
                self.scored.append((node, request.continuation[at], slot + at))

    def _child(self, parent: int, token: int) -> int:
        node = self.children.setdefault((parent, token), len(self.tokens))
        if node == len(self.tokens):
            self.tokens.append(token)
            self.parents.append(parent)
        return node

    def finish(self) -> Pack:
        rows, targets, slots = np.array(self.scored, dtype=np.int64).T
        tokens, count = np.array(self.tokens, dtype=np.int64), len(self.tokens)
        if self.parents == list(range(-1, count - 1)):
            return Pack(tokens, np.arange(count), None, rows, targets, slots)
        sees, depth = np.eye(count, dtype=np.bool_), np.zeros(count, dtype=np.int64)
        for node, parent in enumerate(self.parents):  # a parent stands before its children
            if parent >= 0:
                sees[node] |= sees[parent]
                depth[node] = depth[parent] + 1
        return Pack(tokens, depth, sees, rows, targets, slots)
