"""Dealing: every share, group and order against counts made by hand or over random cases."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiku.data.dealing import deal, hash_order

SHARES = [
    (0.78, 0.02, 0.10, 0.10),
    (0.70, 0.10, 0.10, 0.10),
    (0.05, 0.05, 0.45, 0.45),
    (0.50, 0.00, 0.25, 0.25),
    (0.00, 0.00, 0.50, 0.50),
]


def _keys(n):
    return [f"example {i}" for i in range(n)]


def _counts(split, classes):
    return {kind: np.bincount(split[classes == kind], minlength=4) for kind in np.unique(classes)}


def test_shares_that_come_out_whole_are_dealt_exactly():
    classes = np.repeat([0, 1], [200, 100])
    counts = _counts(deal(_keys(300), SHARES[0], seed=0, classes=classes), classes)
    assert counts[0].tolist() == [156, 4, 20, 20]
    assert counts[1].tolist() == [78, 2, 10, 10]


@given(
    sizes=st.lists(st.integers(2, 60), min_size=1, max_size=12),
    shares=st.sampled_from(SHARES),
    seed=st.integers(0, 5),
)
def test_every_share_of_a_class_is_rounded_down_or_up_and_the_totals_come_out(sizes, shares, seed):
    classes = np.repeat(np.arange(len(sizes)), sizes)
    split = deal(_keys(len(classes)), shares, seed=seed, classes=classes)
    for kind, counts in _counts(split, classes).items():
        exact = np.asarray(shares) * sizes[kind]
        assert (counts >= np.floor(exact - 1e-9)).all() and (counts <= np.ceil(exact + 1e-9)).all()
    assert np.abs(np.bincount(split, minlength=4) - np.asarray(shares) * len(classes)).max() < 2


@given(
    groups=st.lists(st.integers(0, 15), min_size=1, max_size=120),
    shares=st.sampled_from(SHARES),
    seed=st.integers(0, 5),
    data=st.data(),
)
def test_no_group_is_ever_in_two_splits_and_nobody_is_left_out(groups, shares, seed, data):
    classes = np.asarray(data.draw(st.lists(st.integers(0, 3), min_size=len(groups), max_size=len(groups))))
    split = deal(_keys(len(groups)), shares, seed=seed, classes=classes, groups=groups)
    homes = defaultdict(set)
    for group, home in zip(groups, split.tolist(), strict=True):
        homes[group].add(home)
    assert all(len(home) == 1 for home in homes.values())
    assert set(split.tolist()) <= {i for i, share in enumerate(shares) if share > 0}


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), per_group=st.integers(1, 6))
def test_many_small_groups_keep_totals_and_classes_near_their_share(seed, per_group):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(300), per_group)
    classes = (rng.random(300) < 0.3).astype(int)[groups]  # every group has one class
    split = deal(_keys(len(groups)), SHARES[1], seed=seed, classes=classes, groups=groups.tolist())
    for counts in _counts(split, classes).values():
        exact = np.asarray(SHARES[1]) * counts.sum()
        assert np.abs(counts - exact).max() <= 2 * per_group


def test_groups_are_dealt_as_well_as_the_best_of_all_ways():
    # eight groups to two equal splits: 2^8 ways, of which the best is found by trying them all
    sizes = [9, 7, 6, 5, 5, 4, 2, 2]
    groups = [g for g, size in enumerate(sizes) for _ in range(size)]
    best = min(abs(2 * sum(s for i, s in enumerate(sizes) if way >> i & 1) - 40) for way in range(256))
    split = deal(_keys(40), (0.0, 0.0, 0.5, 0.5), seed=0, groups=groups)
    counts = Counter(split.tolist())
    assert best == 0 and abs(counts[2] - counts[3]) <= best + min(sizes)


def test_weights_replace_counts():
    weights = np.asarray([1000.0] + [1.0] * 1000)
    split = deal(_keys(1001), (0.5, 0.0, 0.25, 0.25), seed=3, weights=weights)
    masses = [weights[split == i].sum() for i in range(4)]
    assert masses == [1000, 0, 500, 500]


def test_a_class_of_one_goes_to_train():
    classes = np.asarray([0] * 50 + [1] + [2] * 50 + [3] + [4])
    split = deal(_keys(103), SHARES[0], seed=0, classes=classes)
    assert split[50] == split[101] == split[102] == 0


def test_same_seed_same_splits_and_another_seed_others():
    first, again, other = (deal(_keys(200), SHARES[0], seed=s) for s in (7, 7, 8))
    assert (first == again).all() and (first != other).any()


def test_order_of_the_rows_does_not_decide():
    keys = _keys(200)
    straight = dict(zip(keys, deal(keys, SHARES[0], seed=1).tolist(), strict=True))
    backwards = dict(zip(keys[::-1], deal(keys[::-1], SHARES[0], seed=1).tolist(), strict=True))
    assert straight == backwards


def test_hash_order_is_the_order_of_the_blake2b_digests():
    from hashlib import blake2b

    keys = _keys(30)
    digests = [blake2b(f"5:{key}".encode(), digest_size=8).hexdigest() for key in keys]
    assert [digests[i] for i in hash_order(keys, 5)] == sorted(digests)


@pytest.mark.parametrize("seed", range(3))
def test_parts_are_fair_samples_of_the_data(seed):
    # where the mean of a random tenth falls: 10,000 values 0 … 9,999, standard error about 87
    split = deal(_keys(10_000), SHARES[1], seed=seed)
    for part in (1, 2, 3):
        assert abs(np.flatnonzero(split == part).mean() - 4999.5) < 4 * 87
