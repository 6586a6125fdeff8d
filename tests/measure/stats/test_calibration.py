import itertools

import numpy as np
import pytest
from scipy.stats import binom, norm
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from tiku.core.errors import DataError
from tiku.measure.stats import (
    brier,
    brier_items,
    ece,
    ece_interval,
    log_loss,
    log_loss_items,
    reliability_curve,
    squared_calibration_error,
    top_label,
)
from tiku.measure.stats._ece_inversion import _count_at

from .simulation import assert_nominal, clustered


def _binary(rng: np.random.Generator, n: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n,) and labels whose true chance is the probability moved towards 1/2 by `shift`."""
    p = rng.random(n)
    return p, (rng.random(n) < p + shift * (0.5 - p)).astype(int)


def test_log_loss_and_brier_equal_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    p, y = _binary(rng, 300)
    p[:3], y[:3] = [0, 1, 1], [1, 1, 0]
    assert log_loss(y, p).value == pytest.approx(sk.log_loss(y, p))
    assert brier(y, p).value == pytest.approx(sk.brier_score_loss(y, p))
    table, labels = rng.dirichlet([1, 1, 1], 300), rng.integers(0, 3, 300)
    assert log_loss(labels, table).value == pytest.approx(sk.log_loss(labels, table))
    assert brier(labels, table).value == pytest.approx(np.mean(((table - np.eye(3)[labels]) ** 2).sum(1)))
    words = np.array(["b", "c", "a"])
    assert log_loss(words[labels], table, classes=words).value == pytest.approx(sk.log_loss(labels, table))
    assert log_loss_items(labels, table).mean() == pytest.approx(sk.log_loss(labels, table))


def test_columns_of_two_classes_give_twice_the_binary_brier() -> None:
    p, y = _binary(np.random.default_rng(1), 50)
    assert brier_items(y, np.column_stack([1 - p, p])) == pytest.approx(2 * brier_items(y, p))


@pytest.mark.parametrize(("score", "truth"), [(log_loss, 0.5), (brier, 1 / 6)])
def test_intervals_of_proper_scores_cover(score, truth: float) -> None:
    """Calibrated uniform p: E log-loss is 2 * integral of -p ln p, 1/2; E Brier that of p(1 - p), 1/6."""

    def draw(rng):
        p, y = _binary(rng, 150)
        return score(y, p), truth

    assert_nominal(draw)


def _plain_ece(p: np.ndarray, y: np.ndarray, edges: np.ndarray) -> float:
    total = 0.0
    for low, high in itertools.pairwise(edges):
        held = (p > low) & (p <= high) | (p == low) & (low == edges[0])
        if held.any():
            total += abs(p[held].sum() - y[held].sum())
    return total / p.size


def test_plug_in_ece_equals_a_plain_loop() -> None:
    p, y = _binary(np.random.default_rng(2), 500, 0.3)
    p[:2] = [0, 1]
    assert ece(p, y, bins=10) == pytest.approx(_plain_ece(p, y, np.linspace(0, 1, 11)), abs=1e-12)
    order = np.argsort(p)
    parts = [order[i : i + 50] for i in range(0, 500, 50)]
    expected = sum(abs(p[part].sum() - y[part].sum()) for part in parts) / 500
    assert ece(p, y, bins=10, mode="mass") == pytest.approx(expected, abs=1e-12)


def test_ece_of_one_constant_prediction_is_its_distance_from_the_base_rate() -> None:
    y = np.repeat([0, 1], [30, 70])
    assert ece(np.full(100, 0.9), y) == pytest.approx(0.2)
    assert ece(np.full(100, 0.9), y, mode="mass") == pytest.approx(0.2)


def test_reliability_curve_equals_scikit_learn() -> None:
    p, y = _binary(np.random.default_rng(3), 800, 0.2)
    share, confidence = calibration_curve(y, p, n_bins=12)
    curve = reliability_curve(p, y, bins=12)
    assert [one.accuracy.value for one in curve] == pytest.approx(share)
    assert [one.confidence for one in curve] == pytest.approx(confidence)
    assert sum(one.n for one in curve) == 800
    assert sum(one.n * abs(one.accuracy.value - one.confidence) for one in curve) / 800 == pytest.approx(
        ece(p, y, bins=12)
    )


@pytest.mark.parametrize("mode", ["width", "mass"])
def test_correction_takes_most_of_the_bias_away(mode: str) -> None:
    rng = np.random.default_rng(4)
    for shift, truth in [(0.0, 0.0), (0.4, 0.1)]:  # mean of 0.4 * |0.5 - p| = 0.1
        samples = [_binary(rng, 300, shift) for _ in range(40)]
        plain = np.mean([ece(p, y, mode=mode) for p, y in samples]) - truth
        fixed = np.mean([ece(p, y, mode=mode, debias=True) for p, y in samples]) - truth
        assert plain > 0.01
        assert abs(fixed) < 0.4 * plain


@pytest.mark.parametrize("mode", ["width", "mass"])
@pytest.mark.parametrize("shift", [0.0, 0.15, 0.5])
def test_ece_interval_covers_calibrated_and_overconfident_models(mode: str, shift: float) -> None:
    edges, fine = np.linspace(0, 1, 11), np.linspace(0, 1, 100_001)
    gap = shift * (0.5 - fine)
    bins = np.clip(np.digitize(fine, edges) - 1, 0, 9)
    truth = sum(abs(gap[bins == b].mean()) for b in range(10)) / 10

    def draw(rng):
        p, y = _binary(rng, 400, shift)
        return ece_interval(p, y, bins=10, mode=mode, seed=1), truth

    assert_nominal(draw, 80, least=0.93, most=1.0)


_PATTERNS = {
    "everywhere": lambda c: np.full_like(c, 0.08),
    "as a temperature": lambda c: 0.3 * (c - 0.5),
    "over and under": lambda c: 0.1 * np.sign(c - 0.8),
    "in one bin of fifteen": lambda c: 0.4 * (c > 0.98 - 0.43 / 15),
}


@pytest.mark.parametrize("pattern", _PATTERNS)
def test_ece_interval_covers_whatever_the_pattern_of_the_gaps(pattern: str) -> None:
    """Confidences of a predicted class, uniform over 0.55 … 0.98."""
    fine = np.linspace(0.55, 0.98, 100_000)
    gap = _PATTERNS[pattern](fine)
    parts = np.array_split(gap, 15)  # bins of equal mass
    truth = sum(abs(part.mean()) for part in parts) / 15

    def draw(rng):
        c = rng.uniform(0.55, 0.98, 1_500)
        right = rng.random(1_500) < c - _PATTERNS[pattern](c)
        return ece_interval(c, right, bins=15, mode="mass", seed=1), truth

    assert_nominal(draw, 60, least=0.92, most=1.0)


@pytest.mark.parametrize("mode", ["mass", "width"])
@pytest.mark.parametrize("factor", [0.0, 1.0, 4.0])
def test_ece_interval_covers_models_that_hardly_err(factor: float, mode: str) -> None:
    """Mean confidence 0.991; the true error rate is `factor` times what the model admits."""

    def sample(rng, n):
        doubt = np.clip(rng.gamma(0.3, 0.03, n), 1e-6, 0.2)
        return 1 - doubt, rng.random(n) >= factor * doubt, np.abs(factor - 1) * doubt

    truth = sample(np.random.default_rng(0), 1_000_000)[2].mean()  # the gap has one sign everywhere

    def draw(rng):
        confidence, right, _ = sample(rng, 300)
        return ece_interval(confidence, right, mode=mode, seed=1), truth

    assert_nominal(draw, 60, least=0.93, most=1.0)


def test_ece_interval_by_groups_covers() -> None:
    def draw(rng):
        groups, shared = clustered(rng, 100, 5)
        c = rng.uniform(0.55, 0.98, 500)
        luck = norm.cdf(0.8 * shared + 0.6 * rng.standard_normal(500))
        return ece_interval(c, luck < c - 0.08, groups, bins=10, seed=1), 0.08

    assert_nominal(draw, 100, least=0.92, most=1.0)


def test_the_corrected_value_is_the_truth_on_average_where_the_gap_is_everywhere_the_same() -> None:
    rng = np.random.default_rng(7)
    found, plain = [], []
    for _ in range(150):
        c = rng.uniform(0.55, 0.98, 300)
        right = rng.random(300) < c - 0.12
        found.append(ece(c, right, mode="mass", debias=True))
        plain.append(ece(c, right, mode="mass"))
    assert np.mean(found) == pytest.approx(0.12, abs=3.3 * np.std(found) / np.sqrt(150))
    assert np.mean(plain) > 0.13


@pytest.mark.parametrize(
    ("n", "p"), [(5, 0.3), (40, 0.999), (300, 0.5), (400, 0.0), (400, 1.0), (5_000, 0.97)]
)
def test_simulated_counts_are_binomial_quantiles(n: int, p: float) -> None:
    luck = (np.arange(2_000) + 0.5) / 2_000
    assert np.abs(_count_at(n, p, luck) - binom.ppf(luck, n, p)).max() <= (1 if n * p * (1 - p) > 49 else 0)


def test_ece_interval_by_groups_is_wider_when_groups_are_copies() -> None:
    p, y = _binary(np.random.default_rng(5), 200, 0.5)
    many_p, many_y, groups = np.tile(p, 6), np.tile(y, 6), np.tile(np.arange(200), 6)
    alone, grouped = ece_interval(many_p, many_y), ece_interval(many_p, many_y, groups)
    once = ece_interval(p, y)
    assert grouped.high - grouped.low > 1.7 * (alone.high - alone.low)
    assert grouped.high - grouped.low == pytest.approx(once.high - once.low, rel=0.25)


def test_squared_error_is_unbiased_where_the_plug_in_is_not() -> None:
    rng = np.random.default_rng(6)
    found = []
    for _ in range(400):
        p = rng.choice([0.2, 0.5, 0.8], 90)
        found.append(squared_calibration_error(p, rng.random(90) < p + 0.1, bins=3))
    assert np.mean(found) == pytest.approx(0.01, abs=4 * np.std(found) / 20)
    assert min(found) < 0


def test_top_label_takes_the_predicted_class() -> None:
    confidence, right = top_label([2, 0], [[0.1, 0.2, 0.7], [0.3, 0.6, 0.1]])
    assert confidence == pytest.approx([0.7, 0.6]) and right.tolist() == [1, 0]
    confidence, right = top_label([1, 0], [0.8, 0.7])
    assert confidence == pytest.approx([0.8, 0.7]) and right.tolist() == [1, 0]


def test_a_perfect_sample_does_not_prove_calibration() -> None:
    found = ece_interval([1.0] * 30 + [0.0] * 30, [1] * 30 + [0] * 30)
    assert found.value == found.low == 0
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 60), abs=5e-3)  # that many errors may still be there


def test_what_is_not_a_probability_is_refused() -> None:
    for call in (
        lambda: ece([1.2], [1]),
        lambda: ece([0.5], [2]),
        lambda: ece([np.nan], [1]),
        lambda: ece([0.5], [1], bins=0),
        lambda: ece([0.5], [1], mode="equal"),
        lambda: log_loss([0, 1], [[0.5, 0.6], [0.5, 0.5]]),
        lambda: log_loss([0, 2], [[0.5, 0.5], [0.5, 0.5]]),
        lambda: log_loss([0], [[0.5, 0.5], [0.5, 0.5]]),
        lambda: brier([0, 1], [0.1]),
        lambda: brier([0, 1], [-3.0, 2.0]),
        lambda: log_loss([0, 1], np.zeros((2, 2, 2))),
        lambda: squared_calibration_error([0.5], [1]),
    ):
        with pytest.raises(DataError):
            call()
