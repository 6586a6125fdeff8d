"""Every request in exactly one batch; budgets kept; brute force says how small padding can be."""

import dataclasses
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiku.artefact.batching import padded_tokens, plan_batches
from tiku.core.subject import Serve

_LENGTHS = st.lists(st.integers(1, 60), max_size=40)
_SERVES = st.builds(
    Serve,
    batch_size=st.integers(1, 9),
    token_budget=st.none() | st.integers(1, 200),
    sort_by_length=st.booleans(),
    streams=st.integers(1, 5),
)


@given(_LENGTHS, _SERVES)
def test_every_request_is_in_exactly_one_batch(lengths, serve):
    batches = plan_batches(lengths, serve)
    assert sorted(itertools.chain(*batches)) == list(range(len(lengths)))
    assert all(batches)


@given(_LENGTHS, _SERVES)
def test_batches_keep_their_limits(lengths, serve):
    for batch in plan_batches(lengths, serve):
        if serve.token_budget is None:
            assert len(batch) <= serve.batch_size
        else:
            assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= serve.token_budget


@given(st.lists(st.integers(1, 60), min_size=5, max_size=40), _SERVES)
def test_every_stream_gets_a_batch(lengths, serve):
    """Of requests of one length: others cannot always be dealt out evenly. Nine requests for four streams
    are three batches of three."""
    alike = [lengths[0]] * len(lengths)
    share = math.ceil(len(alike) / serve.streams)
    assert len(plan_batches(alike, serve)) >= math.ceil(len(alike) / share)


def test_two_streams_share_four_requests_that_one_budget_would_hold():
    serve = Serve(token_budget=100, sort_by_length=True, streams=2)
    assert plan_batches([5, 5, 4, 4], serve) == [[0], [1], [2], [3]]  # 9 tokens each, not 5 and 13
    assert plan_batches([5, 5, 5, 5], serve) == [[0, 1], [2, 3]]
    assert plan_batches([5, 5, 4, 4], Serve(batch_size=32, streams=2)) == [[0, 1], [2, 3]]


def test_batches_are_smaller_where_two_streams_then_end_together():
    # three batches of 40 tokens would leave one stream idle for the third
    three_by_three = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    for serve in (Serve(token_budget=40, streams=2), Serve(batch_size=4, streams=2)):
        assert plan_batches([10] * 12, serve) == three_by_three
        assert [len(b) for b in plan_batches([10] * 12, dataclasses.replace(serve, streams=1))] == [4, 4, 4]
        assert [len(b) for b in plan_batches([10] * 12, dataclasses.replace(serve, streams=3))] == [4, 4, 4]


def test_without_sorting_requests_stay_in_their_order():
    assert plan_batches([5, 1, 9, 2, 7], Serve(batch_size=2)) == [[0, 1], [2, 3], [4]]


def test_longest_requests_come_first_when_sorted():
    assert plan_batches([5, 1, 9, 2, 7], Serve(batch_size=2, sort_by_length=True)) == [[2, 4], [0, 3], [1]]


def test_budget_of_twenty_tokens_by_hand():
    serve = Serve(token_budget=20, sort_by_length=True)
    assert plan_batches([5, 1, 9, 2, 7, 30], serve) == [[5], [2, 4], [0, 3, 1]]


@pytest.mark.parametrize("lengths", [[3, 3, 9, 9], [1, 2, 3, 4, 5, 6], [8, 1, 8, 1]])
def test_sorting_gives_the_least_padding_of_all_orders(lengths):
    def cost(order):
        return sum(2 * max(lengths[i] for i in order[k : k + 2]) for k in range(0, len(order), 2))

    least = min(cost(order) for order in itertools.permutations(range(len(lengths))))
    planned = plan_batches(lengths, Serve(batch_size=2, sort_by_length=True))
    assert padded_tokens(lengths, planned) == least


def test_no_requests_make_no_batches():
    assert plan_batches([], Serve()) == []
    assert plan_batches([], Serve(token_budget=8)) == []
