"""The paged pool against plain lists: whatever is done, every sequence reads back what was written."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from tiku.decoding.paged import PagedPool, PoolFull


class Machine(RuleBasedStateMachine):
    """Sequences as lists of distinct numbers; a memory array that obeys the pool's slots and copies."""

    live = Bundle("live")

    @initialize(blocks=st.integers(1, 12), size=st.integers(1, 5))
    def make(self, blocks: int, size: int) -> None:
        self.pool = PagedPool(blocks, size)
        self.memory = np.full(blocks * size, -1)
        self.lists: dict[int, list[int]] = {}
        self.written = 0

    @rule(target=live)
    def open(self) -> int:
        number = self.pool.open()
        assert number not in self.lists
        self.lists[number] = []
        return number

    @rule(target=live, number=live, share=st.floats(0, 1))
    def fork(self, number: int, share: float) -> int:
        length = round(share * len(self.lists[number]))
        before = self.pool.free
        child = self.pool.fork(number, length)
        assert self.pool.free == before
        self.lists[child] = self.lists[number][:length]
        return child

    @rule(number=live, tokens=st.integers(0, 12))
    def append(self, number: int, tokens: int) -> None:
        before = (self.pool.free, self.pool.usage(), self.pool.slots(number).tolist())
        try:
            added = self.pool.append(number, tokens)
        except PoolFull as error:
            assert (self.pool.free, self.pool.usage(), self.pool.slots(number).tolist()) == before
            assert error.next_step and str(before[0]) in error.allowed
            assert self._needed(number, tokens) > before[0]
            return
        if added.copy is not None:
            source, target = added.copy.source, added.copy.target
            self.memory[target : target + added.copy.tokens] = self.memory[
                source : source + added.copy.tokens
            ]
        fresh = list(range(self.written, self.written + tokens))
        self.written += tokens
        self.memory[added.slots] = fresh
        self.lists[number] += fresh

    @rule(number=live, share=st.floats(0, 1))
    def truncate(self, number: int, share: float) -> None:
        length = round(share * len(self.lists[number]))
        self.pool.truncate(number, length)
        del self.lists[number][length:]

    @rule(number=consumes(live))
    def close(self, number: int) -> None:
        self.pool.close(number)
        del self.lists[number]
        with pytest.raises(KeyError):
            self.pool.close(number)

    @invariant()
    def every_sequence_reads_back_what_was_written(self) -> None:
        if not hasattr(self, "pool"):
            return
        for number, written in self.lists.items():
            assert self.memory[self.pool.slots(number)].tolist() == written
            assert self.pool.length(number) == len(written)

    @invariant()
    def blocks_are_free_or_held_and_never_both(self) -> None:
        if not hasattr(self, "pool"):
            return
        size, usage = self.pool.block_tokens, self.pool.usage()
        slots = [self.pool.slots(number) for number in self.lists]
        held = {int(block) for own in slots for block in np.unique(own // size)}
        assert usage.used == len(held) == self.pool.blocks - self.pool.free
        filled = {int(slot) for own in slots for slot in own}  # a shared slot counts once
        assert usage.tokens == len(filled)
        if held:
            assert usage.internal == pytest.approx(1 - len(filled) / (len(held) * size))
        if not self.lists or not held:
            assert usage.internal == 0 and self.pool.free == self.pool.blocks

    def _needed(self, number: int, tokens: int) -> int:
        """Blocks the append had to find, counted from who holds what."""
        size, own = self.pool.block_tokens, self.pool.slots(number)
        blocks = -(-(len(own) + tokens) // size) - -(-len(own) // size)
        if tokens and len(own) % size:
            last = own[-1] // size
            others = (self.pool.slots(n) // size for n in self.lists if n != number)
            blocks += any(last in other for other in others)
        return blocks


TestPoolAgainstLists = Machine.TestCase
TestPoolAgainstLists.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_shared_prefix_is_stored_once_and_copied_at_the_first_write() -> None:
    pool = PagedPool(blocks=10, block_tokens=4)
    first = pool.open()
    pool.append(first, 10)  # blocks of 4, 4 and 2
    others = [pool.fork(first, 10) for _ in range(3)]
    assert (pool.usage().used, pool.usage().tokens) == (3, 10)
    added = pool.append(others[0], 1)
    assert added.copy is not None and added.copy.tokens == 2
    assert added.copy.source == pool.slots(first)[8]
    assert (pool.usage().used, pool.usage().tokens) == (4, 13)
    assert pool.append(others[0], 1).copy is None  # the block is its own by now
    pool.close(others[1])
    pool.close(others[2])
    assert pool.append(first, 1).copy is None  # nobody else holds it any more
    assert pool.slots(first)[:8].tolist() == pool.slots(others[0])[:8].tolist()


def test_fragmentation_inside_and_between_blocks() -> None:
    pool = PagedPool(blocks=6, block_tokens=4)
    rows = [pool.open() for _ in range(6)]
    for row in rows:
        pool.append(row, 3)
    assert pool.usage().internal == pytest.approx(1 / 4)
    assert pool.usage().external == 0
    for row in (rows[0], rows[2], rows[3]):
        pool.close(row)  # free: one block alone, and two neighbours
    assert pool.usage().external == pytest.approx(1 / 3)
    wide = pool.open()
    pool.append(wide, 12)  # three blocks, though no three are neighbours
    assert pool.free == 0


def test_full_pool_says_what_was_wanted_and_what_is_there() -> None:
    pool = PagedPool(blocks=2, block_tokens=4)
    one = pool.open()
    pool.append(one, 5)
    with pytest.raises(PoolFull) as caught:
        pool.append(one, 10)
    assert "2 blocks of 4 tokens" in caught.value.got and "0 free of 2" in caught.value.allowed
    assert pool.length(one) == 5
    assert pool.append(one, 3).slots.size == 3


@pytest.mark.parametrize("blocks, size", [(0, 4), (4, 0), (-1, 4)])
def test_pool_without_room_is_no_pool(blocks: int, size: int) -> None:
    with pytest.raises(ValueError, match="a pool has blocks"):
        PagedPool(blocks, size)


def test_impossible_lengths_are_refused() -> None:
    pool = PagedPool(blocks=2, block_tokens=4)
    one = pool.open()
    pool.append(one, 3)
    for wrong in (4, -1):
        with pytest.raises(ValueError):
            pool.fork(one, wrong)
        with pytest.raises(ValueError):
            pool.truncate(one, wrong)
    with pytest.raises(ValueError):
        pool.append(one, -1)
