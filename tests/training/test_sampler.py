from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiku.training.sampler import Sampler, plan_epoch

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=300)


@given(LENGTHS, st.integers(8, 400), st.integers(0, 5), st.integers(0, 5))
def test_every_example_comes_once_per_epoch_and_batches_keep_the_budget(
    lengths: list[int], budget: int, seed: int, epoch: int
) -> None:
    batches = plan_epoch(lengths, budget, seed, epoch)
    assert sorted(i for batch in batches for i in batch.tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


def test_a_batch_depends_on_seed_and_step_and_not_on_what_was_asked_before() -> None:
    lengths = np.random.default_rng(0).integers(5, 60, 500).tolist()
    forward = Sampler(lengths, 256, epochs=3, min_steps=0, seed=4)
    in_order = [forward.batch(i).tolist() for i in range(forward.steps)]
    backward = Sampler(lengths, 256, epochs=3, min_steps=0, seed=4)
    assert [backward.batch(i).tolist() for i in reversed(range(backward.steps))][::-1] == in_order
    other = Sampler(lengths, 256, epochs=3, min_steps=0, seed=5)
    assert other.batch(0).tolist() != in_order[0]


def test_epochs_differ_in_order_and_in_company() -> None:
    lengths = np.random.default_rng(0).integers(5, 60, 500).tolist()
    first = {frozenset(batch.tolist()) for batch in plan_epoch(lengths, 256, 0, 0)}
    second = {frozenset(batch.tolist()) for batch in plan_epoch(lengths, 256, 0, 1)}
    assert len(first & second) < 0.1 * len(first)


def test_steps_of_one_epoch_cover_the_examples_and_the_next_step_begins_the_next() -> None:
    lengths = [7] * 40
    sampler = Sampler(lengths, 70, epochs=2, min_steps=0, seed=0)  # ten examples a batch, four batches
    assert (sampler.steps, sampler.epochs, sampler.examples_per_step) == (8, 2, 10.0)
    for start in (0, 4):
        seen = np.concatenate([sampler.batch(step) for step in range(start, start + 4)])
        assert sorted(seen.tolist()) == list(range(40))


def test_small_data_are_passed_over_until_there_are_enough_steps() -> None:
    assert Sampler([10] * 20, 100, epochs=2, min_steps=9, seed=0).epochs == 5  # two steps an epoch
    assert Sampler([10] * 20, 100, epochs=7, min_steps=9, seed=0).epochs == 7


def test_a_budget_above_the_data_makes_one_batch_an_epoch() -> None:
    sampler = Sampler([3, 9, 5], 10_000, epochs=2, min_steps=0, seed=0)
    assert sampler.steps == 2
    assert sorted(sampler.batch(0).tolist()) == [0, 1, 2]


def test_padding_is_a_few_percent_where_random_batches_would_compute_twice_the_tokens() -> None:
    lengths = np.random.default_rng(1).integers(5, 60, 5000)
    batches = plan_epoch(lengths.tolist(), 1024, 0, 0)
    computed = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert computed < 1.08 * lengths.sum()


def test_bucketing_keeps_the_class_mix_of_random_batches() -> None:
    """The share of a class in a batch scatters as in random draws of the batch's size (binomial)."""
    rng = np.random.default_rng(2)
    lengths, labels = rng.integers(5, 60, 20_000), rng.integers(0, 2, 20_000)
    batches = plan_epoch(lengths.tolist(), 1024, 0, 0)
    scaled = [(labels[b].mean() - 0.5) * 2 * np.sqrt(len(b)) for b in batches]
    assert np.std(scaled) == pytest.approx(1.0, abs=0.1)
    assert abs(np.mean(scaled)) < 0.15


def test_long_and_short_batches_come_in_random_order() -> None:
    lengths = np.random.default_rng(3).integers(5, 60, 20_000)
    longest = [lengths[b].max() for b in plan_epoch(lengths.tolist(), 1024, 0, 0)]
    assert abs(np.corrcoef(longest[:-1], longest[1:])[0, 1]) < 0.15
