import itertools

import numpy as np
import pytest
from scipy.stats import binom, binomtest
from sklearn import metrics as sk
from statsmodels.stats.proportion import proportion_confint

from tiku.core.errors import DataError, UnknownName
from tiku.measure.stats import (
    CONFUSION_METRICS,
    clopper_pearson,
    confusion_interval,
    confusion_matrix,
    confusion_metric,
    confusion_per_class,
    proportion,
    wilson,
)

from .simulation import assert_nominal, clustered, coverage


@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 30), (1, 30), (15, 30), (30, 30), (997, 1000)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_bounds_of_a_proportion_equal_statsmodels_and_scipy(k: int, n: int, level: float) -> None:
    ours = wilson(k, n, level=level)
    assert (ours.low, ours.high) == pytest.approx(proportion_confint(k, n, 1 - level, "wilson"), abs=1e-12)
    exact, reference = clopper_pearson(k, n, level=level), binomtest(k, n).proportion_ci(level, "exact")
    assert (exact.low, exact.high) == pytest.approx(tuple(reference), abs=1e-9)


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.83])
def test_clopper_pearson_never_covers_too_little_and_wilson_is_near_by_enumeration(p: float) -> None:
    chance = binom.pmf(range(61), 60, p)
    exact = sum(
        chance[k] for k in range(61) if clopper_pearson(k, 60).low <= p <= clopper_pearson(k, 60).high
    )
    near = sum(chance[k] for k in range(61) if wilson(k, 60).low <= p <= wilson(k, 60).high)
    assert exact >= 0.95
    assert 0.92 <= near <= 0.98


@pytest.mark.parametrize(("k", "n"), [(3, 2), (-1, 5), (1.5, 5), (0, 0), (True, 3)])
def test_counts_that_cannot_be_are_refused(k: float, n: int) -> None:
    with pytest.raises(DataError):
        wilson(k, n)


def test_a_level_out_of_range_is_refused() -> None:
    for level in (0, 1, 95):
        with pytest.raises(DataError, match="level"):
            wilson(1, 2, level=level)


def _clustered_answers(rng, clusters: int = 80, size: int = 6):
    groups, shared = clustered(rng, clusters, size)
    return (shared + 0.7 * rng.standard_normal(groups.size) > -0.6).astype(int), groups


def test_cluster_interval_of_a_proportion_covers_where_wilson_does_not() -> None:
    from scipy.stats import norm

    truth = norm.cdf(0.6 / np.hypot(1, 0.7))

    def draw(rng):
        correct, groups = _clustered_answers(rng)
        return proportion(correct, groups, replicates=600, seed=1), truth

    assert_nominal(draw, 500, least=0.925)
    assert coverage(lambda rng: (proportion(_clustered_answers(rng)[0]), truth), 300, 0) < 0.85


def test_groups_that_are_all_right_count_as_so_many_trials() -> None:
    found = proportion(np.ones(100), np.repeat(np.arange(10), 10))
    assert found.low == wilson(10, 10).low and found.n == 100


SK = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "mcc": sk.matthews_corrcoef,
} | {
    f"{name}_{average}": lambda y, p, f=function, a=average: f(y, p, average=a, zero_division=0)
    for name, function in [
        ("precision", sk.precision_score),
        ("recall", sk.recall_score),
        ("f1", sk.f1_score),
    ]
    for average in ["micro", "macro", "weighted"]
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SK)
def test_confusion_metrics_equal_scikit_learn(name: str) -> None:
    rng = np.random.default_rng(0)
    for k, n in itertools.product([2, 3, 7], [4, 50, 900]):
        y = rng.integers(0, k, n)
        p = np.where(rng.random(n) < 0.6, y, rng.integers(0, k, n))
        assert confusion_metric(name, y, p) == pytest.approx(SK[name](y, p), abs=1e-12)
        words = np.array(["ant", "bee", "cat", "dog", "elk", "fox", "gnu"])
        assert confusion_metric(name, words[y], words[p]) == pytest.approx(SK[name](y, p), abs=1e-12)


def test_metrics_of_one_class_equal_scikit_learn_and_zero_denominators_give_zero() -> None:
    rng = np.random.default_rng(1)
    y, p = rng.integers(0, 3, 200), rng.integers(0, 3, 200)
    each = sk.precision_recall_fscore_support(y, p)
    found = confusion_per_class(y, p)
    for label in range(3):
        got = [found[label][name].value for name in ("precision", "recall", "f1")]
        assert got == pytest.approx([row[label] for row in each[:3]])
    assert confusion_metric("precision", [1, 0], [0, 0]) == 0
    assert confusion_metric("recall", [0, 0], [1, 0]) == 0
    assert confusion_metric("f1", [0, 0], [0, 0], positive=0) == 1
    assert confusion_metric("mcc", [0, 0], [0, 0]) == 0


def test_confusion_matrix_equals_scikit_learn() -> None:
    y, p = ["b", "a", "b", "c"], ["b", "b", "a", "c"]
    labels, counts = confusion_matrix(y, p)
    assert labels == ["a", "b", "c"]
    assert (counts == sk.confusion_matrix(y, p)).all()


_TRUE = np.array([[0.30, 0.05, 0.05], [0.04, 0.26, 0.05], [0.03, 0.02, 0.20]])


def _drawn(rng: np.random.Generator, n: int, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.divmod(rng.choice(cells.size, n, p=cells.ravel()), len(cells))


def _truth(name: str, cells: np.ndarray) -> float:
    """The metric of the population: cells scaled to whole counts, scored by scikit-learn."""
    counts = np.round(cells * 10_000).astype(int)
    y, p = np.divmod(np.repeat(np.arange(cells.size), counts.ravel()), len(cells))
    if name in ("precision", "recall", "f1"):
        return {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}[name](y, p)
    return SK[name](y, p)


@pytest.mark.parametrize(
    "name", ["f1_macro", "f1_weighted", "precision_macro", "mcc", "balanced_accuracy", "accuracy"]
)
def test_intervals_of_three_classes_cover(name: str) -> None:
    truth = _truth(name, _TRUE)
    assert_nominal(
        lambda rng: (confusion_interval(name, *_drawn(rng, 200, _TRUE), replicates=800, seed=1), truth), 500,
        least=0.925, most=0.975,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["balanced_accuracy", "recall_macro"])
@pytest.mark.parametrize("rare", [15, 30])
@pytest.mark.parametrize("good", [0.7, 0.95])
def test_the_mean_recall_covers_where_the_rarest_class_has_few_items(name, rare, good) -> None:
    share = rare / 300
    cells = np.array([[(1 - share) * 0.9, (1 - share) * 0.1], [share * (1 - good), share * good]])

    def sample(rng):
        return confusion_interval(name, *_drawn(rng, 300, cells)), (0.9 + good) / 2

    assert_nominal(sample, 2_000, most=0.985)


@pytest.mark.parametrize("name", ["f1", "precision", "recall", "mcc"])
@pytest.mark.parametrize("good", [0.8, 0.98])
def test_intervals_of_two_classes_cover(name: str, good: float) -> None:
    cells = np.array([[0.7 * good, 0.7 * (1 - good)], [0.3 * (1 - good), 0.3 * good]]).round(4)
    truth = _truth(name, cells)
    assert_nominal(
        lambda rng: (confusion_interval(name, *_drawn(rng, 150, cells), replicates=800, seed=1), truth), 500,
        least=0.92, most=0.985,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["f1_macro", "mcc", "accuracy"])
def test_cluster_intervals_cover(name: str) -> None:
    def sample(rng, clusters):
        groups, shared = clustered(rng, clusters, 5)
        y = rng.integers(0, 2, groups.size)
        wrong = shared + rng.standard_normal(groups.size) > 1.2
        return y, np.where(wrong, 1 - y, y), groups

    y, p, _ = sample(np.random.default_rng(9), 200_000)
    truth = SK[name](y, p)
    assert_nominal(
        lambda rng: (confusion_interval(name, *sample(rng, 60), replicates=500, seed=1), truth),
        400,
        least=0.915,
    )


@pytest.mark.parametrize("name", sorted(set(CONFUSION_METRICS)))
def test_a_model_without_errors_is_not_certain(name: str) -> None:
    y = np.arange(60) % 2
    found = confusion_interval(name, y, y)
    assert found.value == found.high == 1
    assert 0.75 < found.low < 0.99
    grouped = confusion_interval(name, y, y, np.repeat(np.arange(6), 10))
    assert grouped.low < found.low


def test_a_clean_sample_bound_covers_when_errors_are_rare() -> None:
    cells = np.array([[0.59, 0.01], [0.01, 0.39]])
    truth = _truth("f1_macro", cells)
    share = coverage(
        lambda rng: (confusion_interval("f1_macro", *_drawn(rng, 60, cells), replicates=500), truth), 500, 0
    )
    assert share > 0.93


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    y, p = _drawn(np.random.default_rng(3), 150, _TRUE)
    a, b, c = (confusion_interval("mcc", y, p, seed=s) for s in (1, 1, 2))
    assert a == b != c


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="length"):
        confusion_metric("accuracy", [0, 1], [0])
    with pytest.raises(DataError, match="one kind"):
        confusion_metric("accuracy", ["a"], [0])
    with pytest.raises(DataError, match="positive class"):
        confusion_metric("f1", ["a", "b"], ["a", "b"])
    with pytest.raises(DataError, match="does not occur"):
        confusion_metric("f1", ["a", "b"], ["a", "b"], positive="z")
    with pytest.raises(DataError, match="not finite"):
        confusion_metric("accuracy", [0, np.nan], [0, 1])
    with pytest.raises(UnknownName) as error:
        confusion_metric("f1_marco", [0, 1], [0, 1])
    assert "f1_macro" in str(error.value)
    with pytest.raises(DataError, match="two groups"):
        confusion_interval("f1", [0, 1], [0, 1], ["x", "x"])
    with pytest.raises(DataError, match="groups"):
        confusion_interval("f1", [0, 1], [0, 1], ["x"])
