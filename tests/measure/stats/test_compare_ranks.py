import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from tiku.core.errors import DataError
from tiku.core.measured import Measured
from tiku.measure.stats import (
    auc_roc,
    average_precision,
    average_precision_interval,
    average_precision_multiclass,
    compare_auc,
    compare_ranks,
    delong_test,
)

from .simulation import assert_nominal, clustered, coverage, metric

AUC, PR = metric("auc_roc"), metric("pr_auc")
SHARES = [0.4, 0.3, 0.2, 0.1]


def _tables(rng: np.random.Generator, n: int, lift: tuple[float, float] = (1.2, 1.6), groups=None):
    """Labels of four classes, and two models' scores (n, 4) that share most of their noise."""
    y = rng.choice(4, n, p=SHARES)
    noise = rng.standard_normal((2, n, 4))
    if groups is not None:  # a group is of one class, and its items share most of their luck
        y = np.resize(np.arange(4), groups.max() + 1)[groups]
        noise = 0.9 * rng.standard_normal((2, groups.max() + 1, 4))[:, groups] + 0.43 * noise
    shared = 0.8 * noise[0] + 0.6 * noise[1]
    hot = np.eye(4)[y]
    return y, lift[0] * hot + noise[0], lift[1] * hot + shared


def _macro(score, y, table) -> float:
    return float(np.mean([score(y == k, table[:, k]) for k in range(table.shape[1])]))


@pytest.fixture(scope="module")
def truths() -> dict[str, float]:
    y, a, b = _tables(np.random.default_rng(99), 300_000)
    return {
        "auc_roc": _macro(roc_auc_score, y, b) - _macro(roc_auc_score, y, a),
        "average_precision": _macro(average_precision_score, y, b) - _macro(average_precision_score, y, a),
        "precision itself": _macro(average_precision_score, y, b),
    }


def _as_measured(found) -> Measured:
    return Measured(found.effect, found.low, found.high, 1, "1", "measured", found.test)


@pytest.mark.parametrize("ranking", ["auc_roc", "average_precision"])
def test_difference_over_several_classes_equals_scikit_learn_and_covers(ranking, truths) -> None:
    score = {"auc_roc": roc_auc_score, "average_precision": average_precision_score}[ranking]
    y, a, b = _tables(np.random.default_rng(0), 500)
    found = compare_ranks(AUC, y, a, b, ranking=ranking)
    assert (found.base, found.value) == pytest.approx((_macro(score, y, a), _macro(score, y, b)), abs=1e-12)
    assert found.effect == pytest.approx(found.value - found.base)

    def draw(rng):
        return _as_measured(compare_ranks(AUC, *_tables(rng, 300), ranking=ranking)), truths[ranking]

    assert_nominal(draw, 400, least=0.92, most=0.975)


@pytest.mark.parametrize("ranking", ["auc_roc", "average_precision"])
def test_difference_by_groups_covers_where_the_plain_one_does_not(ranking) -> None:
    def draw(rng, with_groups=True):
        groups, _ = clustered(rng, 60, 6)
        y, a, b = _tables(rng, 360, (1.2, 1.2), groups)  # both have the same skill: the truth is 0
        found = compare_ranks(AUC, y, a, b, groups if with_groups else None, ranking=ranking)
        return _as_measured(found), 0.0

    assert_nominal(draw, 300, least=0.92, most=0.98)
    assert coverage(lambda rng: draw(rng, False), 150, 0) < 0.8


def test_macro_average_precision_equals_scikit_learn_and_covers(truths) -> None:
    y, _, b = _tables(np.random.default_rng(1), 500)
    found = average_precision_multiclass(y, b)
    assert found.value == pytest.approx(_macro(average_precision_score, y, b), abs=1e-12)
    assert_nominal(
        lambda rng: (average_precision_multiclass(*_tables(rng, 300)[::2]), truths["precision itself"]),
        400, least=0.92, most=0.975,
    )  # fmt: skip


def test_macro_average_precision_by_groups_covers() -> None:
    def sample(rng, clusters):
        groups, _ = clustered(rng, clusters, 6)
        return *_tables(rng, 6 * clusters, groups=groups)[::2], groups

    y, table, _ = sample(np.random.default_rng(2), 50_000)
    truth = _macro(average_precision_score, y, table)
    assert_nominal(
        lambda rng: (average_precision_multiclass(*sample(rng, 70)), truth), 300, least=0.90, most=0.98
    )


def test_the_error_of_a_difference_is_that_of_leaving_each_item_out() -> None:
    y, a, b = _tables(np.random.default_rng(3), 400)
    kept = [np.arange(400) != i for i in range(400)]
    for ranking, score in (("auc_roc", auc_roc), ("average_precision", average_precision)):
        left = np.array([_macro(score, y[k], b[k]) - _macro(score, y[k], a[k]) for k in kept])
        jackknife = np.sqrt(399 / 400 * ((left - left.mean()) ** 2).sum())
        found = compare_ranks(AUC, y, a, b, ranking=ranking)
        assert (found.high - found.low) / (2 * norm.ppf(0.975)) == pytest.approx(jackknife, rel=0.08)


def test_one_column_is_class_one_of_two_and_agrees_with_delong() -> None:
    rng = np.random.default_rng(4)
    y = rng.integers(0, 2, 800)
    a = y + rng.standard_normal(800)
    b = 0.6 * a + y + rng.standard_normal(800)
    ours, delong = compare_ranks(AUC, y, a, b, ranking="auc_roc"), compare_auc(AUC, y, a, b)
    assert ours.effect == pytest.approx(delong.effect) == pytest.approx(delong_test(y, a, b).effect)
    assert (ours.low, ours.high) == pytest.approx((delong.low, delong.high), rel=5e-3)
    column = compare_ranks(AUC, y, a[:, None], b[:, None], ranking="auc_roc")
    assert column == ours
    pr = compare_ranks(PR, y, a, b, ranking="average_precision")
    assert pr.value == average_precision_interval(y, b).value


def test_difference_of_average_precision_of_two_classes_covers() -> None:
    def sample(rng, n):
        y = np.arange(n) % 3 == 0
        noise = rng.standard_normal((2, n))
        return y, 1.2 * y + noise[0], 1.6 * y + 0.8 * noise[0] + 0.6 * noise[1]

    y, a, b = sample(np.random.default_rng(5), 500_000)
    truth = average_precision_score(y, b) - average_precision_score(y, a)
    assert_nominal(
        lambda rng: (_as_measured(compare_ranks(PR, *sample(rng, 240), ranking="average_precision")), truth),
        500, least=0.92, most=0.975,
    )  # fmt: skip


def test_models_of_one_order_are_equivalent_only_when_there_are_enough_items() -> None:
    rng = np.random.default_rng(6)
    for n, verdict in [(100, "cannot tell"), (1_000, "equivalent")]:
        y, a, _ = _tables(rng, n)
        for ranking in ("auc_roc", "average_precision"):
            found = compare_ranks(AUC, y, a, np.exp(a), ranking=ranking)  # a rising map keeps the order
            assert found.effect == 0 and found.verdict == verdict


@pytest.mark.parametrize("two", [True, False])
def test_two_models_without_an_error_are_no_proof_where_a_class_is_rare(two: bool) -> None:
    y = np.repeat([0, 1], [990, 10])
    a, b = y + 0.1 * np.random.default_rng(7).random((2, 1_000))
    found = compare_auc(AUC, y, a, b) if two else compare_ranks(AUC, y, a, b, ranking="auc_roc")
    assert found.effect == 0 and found.base == 1
    # ten items right of ten leave room for 31 % wrong
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 10)) and found.verdict == "cannot tell"
    few = np.repeat([0, 1], [30, 10])
    perfect = average_precision_multiclass(few, np.eye(2)[few])
    assert perfect.value == perfect.high == 1 and perfect.low == pytest.approx(0.025 ** (1 / 10))


def test_what_cannot_be_ranked_is_refused() -> None:
    y, table = [0, 1, 2], np.eye(3)
    for call in (
        lambda: compare_ranks(metric("auc_roc", scale="ratio"), y, table, table, ranking="auc_roc"),
        lambda: compare_ranks(AUC, y, table, table, ranking="accuracy"),
        lambda: compare_ranks(AUC, y, table, table[:2], ranking="auc_roc"),
        lambda: compare_ranks(AUC, [0, 1, 1], table, table, ranking="auc_roc"),
        lambda: compare_ranks(AUC, y, table, table * np.nan, ranking="auc_roc"),
        lambda: average_precision_multiclass([0, 0, 1], table),
    ):
        with pytest.raises(DataError):
            call()
