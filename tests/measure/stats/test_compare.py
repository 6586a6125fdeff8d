import numpy as np
import pytest
from scipy.stats import binom, norm, ttest_rel
from sklearn.metrics import f1_score

from tiku.core.errors import DataError
from tiku.measure.stats import (
    compare_auc,
    compare_correct,
    compare_many,
    compare_means,
    compare_paired,
    compare_ratio,
    compare_resampled,
    paired_proportion_difference,
)

from .simulation import clustered, metric


def _models(rng: np.random.Generator, n: int, base: float = 0.2, candidate: float = 0.15):
    """Labels of three classes and two models with these error rates, dependent on each other."""
    y, luck = rng.integers(0, 3, n), rng.standard_normal(n)
    away = (y + rng.integers(1, 3, n)) % 3

    def answers(rate: float) -> np.ndarray:
        return np.where((luck + rng.standard_normal(n)) / np.sqrt(2) > norm.isf(rate), away, y)

    return y, answers(base), answers(candidate)


def _share_held(draw, truth: float, runs: int) -> None:
    rng = np.random.default_rng(0)
    found = [draw(rng) for _ in range(runs)]
    held = np.mean([c.low <= truth <= c.high for c in found])
    low, high = binom.ppf(0.0005, runs, 0.925) / runs, binom.ppf(0.9995, runs, 0.975) / runs
    assert low <= held <= high, held


def test_difference_of_f1_covers() -> None:
    y, a, b = _models(np.random.default_rng(1), 500_000)
    truth = f1_score(y, b, average="macro") - f1_score(y, a, average="macro")
    m = metric("f1_macro", margin=0.001)
    _share_held(lambda rng: compare_paired(m, *_models(rng, 250), replicates=600, seed=1), truth, 500)


def test_difference_of_accuracy_covers() -> None:
    _share_held(lambda rng: compare_paired(metric(), *_models(rng, 250)), 0.05, 800)


def test_paired_bootstrap_of_any_statistic_agrees_with_the_one_by_cells() -> None:
    y, a, b = _models(np.random.default_rng(2), 400)
    m = metric("f1_macro")

    def both(i):
        return f1_score(y[i], a[i], average="macro"), f1_score(y[i], b[i], average="macro")

    slow, fast = compare_resampled(m, both, 400, replicates=500), compare_paired(m, y, a, b)
    assert (slow.base, slow.value, slow.effect) == pytest.approx((fast.base, fast.value, fast.effect))
    assert slow.high - slow.low == pytest.approx(fast.high - fast.low, rel=0.12)
    assert slow.smallest_detectable == pytest.approx(fast.smallest_detectable, rel=0.12)


def test_groups_widen_every_comparison_when_groups_share_their_luck() -> None:
    rng = np.random.default_rng(3)
    groups, shared = clustered(rng, 60, 8)
    y = rng.integers(0, 2, 480)
    a = np.where(rng.random(480) < 0.2, 1 - y, y)
    b = np.where(shared + 0.3 * rng.standard_normal(480) > 1.0, 1 - y, y)

    def width(c):
        return c.high - c.low

    for name in ("accuracy", "f1_macro"):
        m = metric(name)
        assert width(compare_paired(m, y, a, b, groups)) > 1.5 * width(compare_paired(m, y, a, b))
    loss = rng.random(480), rng.random(480) + shared
    m = metric("log_loss", "lower")
    assert width(compare_means(m, *loss, groups)) > 1.5 * width(compare_means(m, *loss))

    def mean_of_both(i):
        return loss[0][i].mean(), loss[1][i].mean()

    slow = compare_resampled(m, mean_of_both, 480, groups, replicates=500)
    assert width(slow) == pytest.approx(width(compare_means(m, *loss, groups)), rel=0.15)


def test_accuracy_comparison_is_tangos_interval_with_both_accuracies() -> None:
    y, a, b = _models(np.random.default_rng(4), 300)
    found, interval = compare_paired(metric(), y, a, b), paired_proportion_difference(a == y, b == y)
    assert (found.low, found.high) == (interval.low, interval.high)
    assert (found.base, found.value) == ((a == y).mean(), (b == y).mean())
    assert compare_correct(metric(), a == y, b == y) == found


def test_verdicts_follow_the_direction_and_the_margin() -> None:
    rng = np.random.default_rng(5)
    a = rng.random(500)
    for shift, higher, lower in [
        (0.3, "better", "worse"),
        (-0.3, "worse", "better"),
        (0.0, "equivalent", "equivalent"),
    ]:
        b = a + shift + 0.01 * rng.standard_normal(500)
        assert compare_means(metric("m", "higher", margin=0.1), a, b).verdict == higher
        assert compare_means(metric("m", "lower", margin=0.1), a, b).verdict == lower
    assert compare_means(metric("m", margin=0.01), a, rng.random(500)).verdict == "cannot tell"


def test_paired_t_equals_scipy() -> None:
    rng = np.random.default_rng(6)
    a, b = rng.random(50), rng.random(50) + 0.1
    interval = ttest_rel(b, a).confidence_interval()
    found = compare_means(metric("loss", "lower"), a, b)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_a_ratio_of_means_covers() -> None:
    def draw(rng):
        shared = rng.exponential(size=120)
        a, b = shared + rng.exponential(size=120), shared + 2 * rng.exponential(size=120)
        return compare_means(metric("nll", "lower", "ratio"), a, b)

    _share_held(draw, 1.5, 800)


def test_difference_of_auc_covers() -> None:
    truth = norm.cdf(1.5 / np.sqrt(2)) - norm.cdf(1 / np.sqrt(2))

    def draw(rng):
        y = np.arange(200) % 2
        shared = rng.standard_normal(200)
        a, b = (d * y + 0.8 * shared + 0.6 * rng.standard_normal(200) for d in (1.0, 1.5))
        return compare_auc(metric("auc_roc"), y, a, b)

    _share_held(draw, truth, 600)


def test_identical_models_are_equivalent_only_when_there_are_enough_items() -> None:
    for n, verdict in [(40, "cannot tell"), (2_000, "equivalent")]:
        y = np.arange(n) % 3
        for name in ("accuracy", "f1_macro"):
            found = compare_paired(metric(name, margin=0.01), y, y, y)
            assert found.effect == 0 and found.verdict == verdict
            assert found.smallest_detectable is None


def test_a_ratio_of_times_is_judged_against_one() -> None:
    rng = np.random.default_rng(7)
    base = 1 + 0.02 * rng.random(30)
    latency = metric("latency", "lower", "ratio", margin=0.02)
    assert compare_ratio(latency, base, 0.5 * base * (1 + 0.01 * rng.random(30))).verdict == "better"
    assert compare_ratio(latency, base, base * (1 + 0.002 * rng.standard_normal(30))).verdict == "equivalent"
    means = compare_ratio(latency, base, 2 * base, method="ratio of means")
    assert means.effect == pytest.approx(2) and means.verdict == "worse"
    with pytest.raises(DataError, match="pairs"):
        compare_ratio(latency, base[:4], base[:4])
    with pytest.raises(DataError, match="scale"):
        compare_ratio(metric("latency", "lower"), base, base)


def test_holm_over_many_candidates_keeps_false_verdicts_under_five_percent() -> None:
    rng, m = np.random.default_rng(8), metric(margin=0.0)
    wrong = {"holm": 0, "each alone": 0}
    for _ in range(200):
        y = np.zeros(200, int)
        base = (rng.random(200) < 0.3).astype(int)
        others = {str(i): (rng.random(200) < 0.3).astype(int) for i in range(8)}
        judged = compare_many(m, y, base, others)
        wrong["holm"] += any(c.verdict in ("better", "worse") for c in judged.values())
        alone = [compare_paired(m, y, base, other) for other in others.values()]
        wrong["each alone"] += any(c.verdict in ("better", "worse") for c in alone)
    assert wrong["holm"] <= binom.ppf(0.9995, 200, 0.05)
    assert wrong["each alone"] > 25


def test_holm_keeps_a_strong_effect_and_demotes_a_weak_one() -> None:
    y = np.zeros(400, int)
    base = np.repeat([1, 0], [80, 320])
    strong, weak = np.zeros(400, int), base.copy()
    weak[:12], weak[80:83] = 0, 1  # 12 won, 3 lost: p = 0.035 alone
    found = compare_many(
        metric(margin=0.0), y, base, {"weak": weak, "strong": strong, "same": base, "also": weak}
    )
    assert compare_paired(metric(margin=0.0), y, base, weak).verdict == "better"
    assert found["strong"].verdict == "better" and found["weak"].verdict == "cannot tell"
    assert list(found) == ["weak", "strong", "same", "also"]


def test_what_cannot_be_compared_is_refused() -> None:
    ratio = metric("m", scale="ratio")
    for call in (
        lambda: compare_paired(metric(), [0, 1], [0, 1], [0]),
        lambda: compare_means(metric("m"), [1.0], [2.0]),
        lambda: compare_means(ratio, [-1.0, 0.5], [1.0, 2.0]),
        lambda: compare_correct(ratio, [0, 1], [1, 1]),
        lambda: compare_auc(ratio, [0, 1], [0.1, 0.2], [0.3, 0.1]),
        lambda: compare_resampled(metric("m"), lambda i: (0.0, 0.0), 1),
    ):
        with pytest.raises(DataError):
            call()
