import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp, norm
from sklearn.metrics import average_precision_score, roc_auc_score

from tiku.core.errors import DataError
from tiku.measure.stats import (
    auc_roc,
    auc_roc_bootstrap,
    auc_roc_interval,
    auc_roc_multiclass,
    auc_roc_per_class,
    auc_roc_replicates,
    average_precision,
    average_precision_interval,
)

from .simulation import assert_nominal, clustered, coverage, pairs_auc

EXTREMES = [
    0.0,
    -0.0,
    1e-45,
    -1e-45,
    np.inf,
    -np.inf,
    3e38,
    -3e38,
    1.0,
    np.nextafter(np.float32(1), np.float32(2)),
]
BINORMAL = 0.7602499389065233  # Phi(1 / sqrt 2): AUC of N(1, 1) against N(0, 1)


def _sample(rng: np.random.Generator, n: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    y = rng.integers(0, 2, n)
    y[:2] = [0, 1]
    scores = {
        "smooth": lambda: rng.standard_normal(n) + y,
        "tied": lambda: rng.integers(-4, 5, n) / 4 + 0.0,
        "extreme": lambda: rng.choice(EXTREMES, n),
        "half": lambda: rng.random(n).astype(np.float16),
        "counts": lambda: rng.integers(0, 9, n),
        "one value": lambda: np.full(n, 0.5),
    }[kind]()
    return y, scores


KINDS = ["smooth", "tied", "extreme", "half", "counts", "one value"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, None])
@pytest.mark.parametrize("kind", KINDS)
def test_auc_counts_every_pair_right(kind: str, dtype: type | None) -> None:
    rng = np.random.default_rng(1)
    for n in (2, 3, 10, 57, 200):
        y, s = _sample(rng, n, kind)
        s = s if dtype is None else s.astype(dtype)
        assert auc_roc(y, s) == pytest.approx(pairs_auc(y, s), abs=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["smooth", "tied", "counts", "one value"])
@pytest.mark.parametrize("weighted", [False, True])
def test_auc_and_average_precision_equal_scikit_learn(kind: str, dtype: type, weighted: bool) -> None:
    rng = np.random.default_rng(2)
    for n in (5, 400, 20_000):
        y, s = _sample(rng, n, kind)
        s = s.astype(dtype)
        w = rng.choice([0.0, 0.5, 1.0, 3.0], n) if weighted else None
        if w is not None:
            w[:2] = 1
        assert auc_roc(y, s, w) == pytest.approx(roc_auc_score(y, s, sample_weight=w), abs=1e-12)
        expected = average_precision_score(y, s, sample_weight=w)
        assert average_precision(y, s, w) == pytest.approx(expected, abs=1e-12)


def test_doubles_that_differ_below_single_precision_are_not_tied() -> None:
    s = 1 + np.array([0, 1, 2, 3]) * 2.0**-40
    assert auc_roc([0, 0, 1, 1], s) == 1
    assert auc_roc([1, 1, 0, 0], s) == 0


def test_scores_over_the_whole_range_of_float32_take_the_wide_keys() -> None:
    rng = np.random.default_rng(3)
    s = rng.integers(0, 2**32, 3_000, dtype=np.uint32).view(np.float32)
    s = s[np.isfinite(s)]
    y = rng.integers(0, 2, s.size)
    assert auc_roc(y, s) == pytest.approx(pairs_auc(y, s), abs=1e-14)


def test_inputs_are_not_changed() -> None:
    y, s = np.array([0, 1, 1, 0]), np.array([0.3, 0.1, -0.0, 2.0], np.float32)
    before = s.tobytes(), y.tobytes()
    auc_roc(y, s)
    auc_roc_interval(y, s)
    average_precision_interval(y, s)
    assert (s.tobytes(), y.tobytes()) == before


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(-1000, 1000)), min_size=2, max_size=60))
def test_auc_keeps_under_rising_maps_and_mirrors_under_falling_ones(items: list[tuple[bool, int]]) -> None:
    y, s = np.array([a for a, _ in items]), np.array([b for _, b in items], float)
    if y.all() or not y.any():
        return
    value = auc_roc(y, s)
    assert auc_roc(y, s**3) == value
    assert auc_roc(y, np.arctan(s)) == value
    assert auc_roc(y, -s) == pytest.approx(1 - value, abs=1e-15)
    assert auc_roc(~y, s) == pytest.approx(1 - value, abs=1e-15)
    assert auc_roc(np.tile(y, 3), np.tile(s, 3)) == pytest.approx(value, abs=1e-15)


@pytest.mark.parametrize("function", [auc_roc, auc_roc_interval, auc_roc_bootstrap, average_precision,
                                      average_precision_interval])  # fmt: skip
@pytest.mark.parametrize(
    ("y", "s", "word"),
    [
        ([0, 1, 1], [0.1, np.nan, 0.2], "NaN"),
        ([1, 1, 1], [0.1, 0.2, 0.3], "one class"),
        ([0, 0], [0.1, 0.2], "one class"),
        ([0, 2], [0.1, 0.2], "0 or 1"),
        ([0, 1], [0.1, 0.2, 0.3], "length"),
        ([], [], "empty"),
        ([[0, 1]], [0.1, 0.2], "dimension"),
        (["a", "b"], [0.1, 0.2], "numbers"),
        ([0, 1], ["a", "b"], "numbers"),
        ([0, np.nan], [0.1, 0.2], "0 or 1"),
        ([0, 1], [2**60, 1], "float64"),
    ],
)
def test_what_cannot_be_ranked_is_refused(function, y, s, word) -> None:
    with pytest.raises(DataError, match=word):
        function(y, s)


@pytest.mark.parametrize("weight", [[1, -1, 1], [0, 0, 0], [1, 1], [1, np.inf, 1], [1, 0, 0]])
def test_weights_that_mean_nothing_are_refused(weight: list[float]) -> None:
    with pytest.raises(DataError):
        auc_roc([0, 1, 0], [0.1, 0.2, 0.3], weight)


def _pairwise_delong(y: np.ndarray, s: np.ndarray) -> float:
    """Variance by DeLong, DeLong and Clarke-Pearson (1988), over the matrix of all pairs."""
    won = (s[y == 1][:, None] > s[y == 0]) + 0.5 * (s[y == 1][:, None] == s[y == 0])
    return np.var(won.mean(1), ddof=1) / won.shape[0] + np.var(won.mean(0), ddof=1) / won.shape[1]


@pytest.mark.parametrize("kind", ["smooth", "tied"])
def test_delong_variance_equals_the_matrix_of_all_pairs(kind: str) -> None:
    y, s = _sample(np.random.default_rng(4), 300, kind)
    found = auc_roc_interval(y, s)
    logit = np.log([found.low / (1 - found.low), found.high / (1 - found.high)])
    se = (logit[1] - logit[0]) / (2 * 1.959963984540054) * found.value * (1 - found.value)
    assert se**2 == pytest.approx(_pairwise_delong(y, s), rel=1e-9)


def test_groups_of_one_item_change_the_interval_only_by_a_finite_sample_factor() -> None:
    y, s = _sample(np.random.default_rng(5), 2_000, "smooth")
    alone, grouped = auc_roc_interval(y, s), auc_roc_interval(y, s, np.arange(2_000))
    assert grouped.high - grouped.low == pytest.approx(alone.high - alone.low, rel=2e-3)


def test_repeating_every_item_in_its_group_does_not_shrink_the_interval() -> None:
    y, s = _sample(np.random.default_rng(6), 300, "smooth")
    once = auc_roc_interval(y, s, np.arange(300))
    many = auc_roc_interval(np.tile(y, 5), np.tile(s, 5), np.tile(np.arange(300), 5))
    assert (many.low, many.high) == pytest.approx((once.low, once.high), abs=1e-12)
    flat = auc_roc_interval(np.tile(y, 5), np.tile(s, 5))
    assert flat.high - flat.low < 0.5 * (once.high - once.low)


def test_a_perfect_auc_still_has_an_interval() -> None:
    found = auc_roc_interval([0] * 20 + [1] * 20, range(40))
    assert found.value == found.high == 1 and 0.8 < found.low < 0.95
    assert auc_roc_interval([0, 1], [1, 0]).value == 0


def test_auc_interval_covers() -> None:
    def draw(rng):
        y = np.arange(120) % 3 == 0
        return auc_roc_interval(y, rng.standard_normal(120) + y), BINORMAL

    assert_nominal(draw)


def test_auc_interval_near_one_covers() -> None:
    def draw(rng):
        y = np.arange(80) % 2 == 0
        return auc_roc_interval(y, rng.standard_normal(80) + 3 * y), norm.cdf(3 / np.sqrt(2))

    assert_nominal(draw, most=0.995)


@pytest.mark.parametrize(
    ("positives", "negatives", "apart", "spread"),
    [(10, 500, 2.5, 1.0), (10, 500, 1.5, 0.4), (10, 10, 1.5, 1.0), (30, 970, 2.5, 1.0), (30, 300, 1.5, 0.4)],
)
def test_auc_interval_of_a_rare_class_covers(positives, negatives, apart, spread) -> None:
    y = np.arange(positives + negatives) < positives

    def draw(rng):
        s = np.where(y, apart + rng.standard_normal(y.size), spread * rng.standard_normal(y.size))
        return auc_roc_interval(y, s), norm.cdf(apart / np.hypot(1, spread))

    assert_nominal(draw, most=0.995)


def test_auc_interval_by_groups_covers_where_the_plain_one_does_not() -> None:
    def draw(rng, with_groups=True):
        groups, shared = clustered(rng, 60, 5)
        y = np.repeat(np.arange(60) % 2, 5)
        s = 1.2 * y + 0.9 * shared + 0.5 * rng.standard_normal(300)
        truth = norm.cdf(1.2 / np.sqrt(2 * (0.9**2 + 0.5**2)))
        return auc_roc_interval(y, s, groups if with_groups else None), truth

    assert_nominal(draw)
    assert coverage(lambda rng: draw(rng, False), 400, 0) < 0.85


def test_bootstrap_interval_covers() -> None:
    def draw(rng):
        y = np.arange(150) % 3 == 0
        return auc_roc_bootstrap(y, rng.standard_normal(150) + y, replicates=300, seed=1), BINORMAL

    assert_nominal(draw, runs=600, least=0.92)


def _item_by_item(y: np.ndarray, s: np.ndarray, replicates: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    won = (s[y == 1][:, None] > s[y == 0]) + 0.5 * (s[y == 1][:, None] == s[y == 0])
    positive, negative = (rng.poisson(1.0, (replicates, side)).astype(float) for side in won.shape)
    return np.einsum("ri,ri->r", positive @ won, negative) / (positive.sum(1) * negative.sum(1))


@pytest.mark.parametrize(("blocks", "kind"), [(4_096, "smooth"), (64, "smooth"), (16, "tied")])
def test_bootstrap_by_blocks_has_the_distribution_of_resampled_items(blocks: int, kind: str) -> None:
    y, s = _sample(np.random.default_rng(7), 1_000, kind)
    slow = _item_by_item(y, s, 4_000, 1)
    fast = auc_roc_replicates(y, s, replicates=8_000, blocks=blocks, seed=2)
    assert ks_2samp(slow, fast).pvalue > 0.001
    assert fast.std() == pytest.approx(slow.std(), rel=0.05)


def test_too_few_blocks_are_seen_to_understate_the_spread() -> None:
    y, s = _sample(np.random.default_rng(7), 1_000, "smooth")
    spread = [auc_roc_replicates(y, s, replicates=8_000, blocks=b, seed=2).std() for b in (2, 1_024)]
    assert spread[0] < 0.9 * spread[1]


def test_bootstrap_agrees_with_delong_on_a_large_sample_and_repeats_by_seed() -> None:
    y, s = _sample(np.random.default_rng(8), 50_000, "smooth")
    a, b = auc_roc_bootstrap(y, s, replicates=2_000, seed=3), auc_roc_interval(y, s)
    assert a.high - a.low == pytest.approx(b.high - b.low, rel=0.08)
    assert (
        a
        == auc_roc_bootstrap(y, s, replicates=2_000, seed=3)
        != auc_roc_bootstrap(y, s, replicates=2_000, seed=4)
    )


def test_resamples_that_miss_a_class_are_drawn_again() -> None:
    values = auc_roc_replicates([0, 1], [0.1, 0.2], replicates=500)
    assert values.shape == (500,) and (values == 1).all()


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_multiclass_auc_equals_scikit_learn_and_covers(average: str) -> None:
    def sample(rng, n):
        y = rng.choice(3, n, p=[0.5, 0.3, 0.2])
        logits = rng.standard_normal((n, 3)) + 1.2 * np.eye(3)[y]
        return y, np.exp(logits) / np.exp(logits).sum(1, keepdims=True)

    y, p = sample(np.random.default_rng(0), 500)
    expected = roc_auc_score(y, p, multi_class="ovr", average=average)
    assert auc_roc_multiclass(y, p, average=average).value == pytest.approx(expected, abs=1e-12)
    truth = auc_roc_multiclass(*sample(np.random.default_rng(1), 500_000), average=average).value
    assert_nominal(lambda rng: (auc_roc_multiclass(*sample(rng, 200), average=average), truth), 500)


def test_multiclass_names_its_classes_and_refuses_an_absent_one() -> None:
    p = np.array([[0.7, 0.3], [0.2, 0.8], [0.4, 0.6], [0.9, 0.1]])
    found = auc_roc_per_class(["a", "b", "a", "b"], p)
    assert found["b"].value == found["a"].value == 0.5
    with pytest.raises(DataError, match="class"):
        auc_roc_multiclass(["a", "b", "a", "b"], np.ones((4, 3)), classes=["a", "b", "c"])
    with pytest.raises(DataError, match="column"):
        auc_roc_multiclass(["a", "b", "a", "b"], np.ones((4, 3)))
    with pytest.raises(DataError, match="average"):
        auc_roc_multiclass(["a", "b", "a", "b"], p, average="micro")
