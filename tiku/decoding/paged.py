"""A pool of fixed blocks of token slots: which slot holds which token of which sequence.

Pure bookkeeping (Kwon et al. 2023, PagedAttention): the arrays that the slots number belong to the
runtime. Sequences share blocks by reference count; a block that others hold is copied before a
sequence writes into it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tiku.core.errors import TikuError

__all__ = ["Appended", "BlockCopy", "PagedPool", "PoolFull", "Usage"]


class PoolFull(TikuError):
    """There are fewer free blocks than a sequence needs; nothing was changed."""


@dataclass(frozen=True)
class BlockCopy:
    """The first `tokens` slots from `source` go to those from `target`, before anything is written."""

    source: int
    target: int
    tokens: int


@dataclass(frozen=True)
class Appended:
    """The slots of the new tokens, shape (tokens,), and the copy that must come first, if any."""

    slots: NDArray[np.int64]
    copy: BlockCopy | None = None


@dataclass(frozen=True)
class Usage:
    """`tokens` counts filled slots, those of a shared block once. `internal` is the share of the used
    blocks' slots that are empty; `external` the share of the free blocks outside the longest run of
    neighbours: what a request for contiguous memory could not use, and this pool can."""

    blocks: int
    used: int
    tokens: int
    internal: float
    external: float


@dataclass
class _Sequence:
    length: int = 0
    blocks: list[int] = field(default_factory=list)


class PagedPool:
    """`blocks` blocks of `block_tokens` slots each; slot = block * block_tokens + place in the block."""

    def __init__(self, blocks: int, block_tokens: int = 16) -> None:
        if blocks < 1 or block_tokens < 1:
            raise ValueError(f"a pool has blocks and slots, got {blocks} x {block_tokens}")
        self.blocks, self.block_tokens = blocks, block_tokens
        self._free = list(range(blocks - 1, -1, -1))
        self._holders = [0] * blocks
        self._sequences: dict[int, _Sequence] = {}
        self._numbers = itertools.count()

    def open(self) -> int:
        """The number of a new, empty sequence."""
        number = next(self._numbers)
        self._sequences[number] = _Sequence()
        return number

    def fork(self, number: int, length: int) -> int:
        """A new sequence that begins with the first `length` tokens of another; takes no block."""
        parent = self._sequences[number]
        if not 0 <= length <= parent.length:
            raise ValueError(f"a sequence of {parent.length} tokens has no first {length}")
        shared = parent.blocks[: self.blocks_for(length)]
        for block in shared:
            self._holders[block] += 1
        child = self.open()
        self._sequences[child] = _Sequence(length, list(shared))
        return child

    def append(self, number: int, tokens: int) -> Appended:
        """Slots for `tokens` more tokens. Raises `PoolFull`, and then nothing has changed."""
        sequence = self._sequences[number]
        if tokens < 0:
            raise ValueError(f"{tokens} tokens cannot be appended")
        partial = sequence.length % self.block_tokens if tokens else 0
        shared = bool(partial) and self._holders[sequence.blocks[-1]] > 1
        missing = self.blocks_for(sequence.length + tokens) - len(sequence.blocks)
        self._check_free(missing + shared)
        copy = self._own_last(sequence, partial) if shared else None
        sequence.blocks += [self._take() for _ in range(missing)]
        first, sequence.length = sequence.length, sequence.length + tokens
        return Appended(self._slots(sequence)[first:], copy)

    def truncate(self, number: int, length: int) -> None:
        """Keep the first `length` tokens; blocks that hold none of them are given back."""
        sequence = self._sequences[number]
        if not 0 <= length <= sequence.length:
            raise ValueError(f"a sequence of {sequence.length} tokens cannot be cut to {length}")
        keep = self.blocks_for(length)
        for block in sequence.blocks[keep:]:
            self._release(block)
        del sequence.blocks[keep:]
        sequence.length = length

    def close(self, number: int) -> None:
        """Give the sequence's blocks back; its number is not used again."""
        self.truncate(number, 0)
        del self._sequences[number]

    def length(self, number: int) -> int:
        """Tokens of a sequence."""
        return self._sequences[number].length

    def slots(self, number: int) -> NDArray[np.int64]:
        """The slot of each token of a sequence, shape (length,)."""
        return self._slots(self._sequences[number])

    def blocks_for(self, tokens: int) -> int:
        """Blocks that `tokens` tokens of one sequence need."""
        return -(-tokens // self.block_tokens)

    @property
    def free(self) -> int:
        """Free blocks."""
        return len(self._free)

    def usage(self) -> Usage:
        """How full the pool is, and where it is empty."""
        filled: dict[int, int] = {}
        for sequence in self._sequences.values():
            for block, tokens in self._filled(sequence):
                filled[block] = max(tokens, filled.get(block, 0))
        tokens, slots = sum(filled.values()), len(filled) * self.block_tokens
        return Usage(
            self.blocks,
            len(filled),
            tokens,
            1 - tokens / slots if slots else 0.0,
            1 - _longest_run(self._free) / len(self._free) if self._free else 0.0,
        )

    def _filled(self, sequence: _Sequence) -> Iterator[tuple[int, int]]:
        for i, block in enumerate(sequence.blocks):
            yield block, min(self.block_tokens, sequence.length - i * self.block_tokens)

    def _slots(self, sequence: _Sequence) -> NDArray[np.int64]:
        starts = np.asarray(sequence.blocks, dtype=np.int64) * self.block_tokens
        every = (starts[:, None] + np.arange(self.block_tokens)).reshape(-1)
        return every[: sequence.length]

    def _own_last(self, sequence: _Sequence, partial: int) -> BlockCopy:
        """Copy on write: the last block is others' too, and is about to be written."""
        old, new = sequence.blocks[-1], self._take()
        self._release(old)
        sequence.blocks[-1] = new
        return BlockCopy(old * self.block_tokens, new * self.block_tokens, partial)

    def _take(self) -> int:
        block = self._free.pop()
        self._holders[block] = 1
        return block

    def _release(self, block: int) -> None:
        self._holders[block] -= 1
        if self._holders[block] == 0:
            self._free.append(block)

    def _check_free(self, wanted: int) -> None:
        if wanted > len(self._free):
            raise PoolFull(
                "the cache pool is full",
                got=f"{wanted} blocks of {self.block_tokens} tokens wanted",
                allowed=f"{len(self._free)} free of {self.blocks}",
                next_step="wait until a request leaves, answer fewer at once, or give the pool more memory",
            )


def _longest_run(numbers: list[int]) -> int:
    ordered = np.sort(np.asarray(numbers))
    breaks = np.flatnonzero(np.diff(ordered) != 1)
    edges = np.concatenate(([-1], breaks, [ordered.size - 1]))
    return int(np.diff(edges).max())
