"""P-values recovered from comparisons, against the tests that the intervals belong to."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, ttest_1samp, ttest_ind
from statsmodels.stats.contingency_tables import mcnemar

from tests.questions.evidence import METRICS, compared, evidence, trial
from tiku.core.verdict import Comparison
from tiku.measure.clock_statistics import compare, geometric_ratio
from tiku.measure.instruments.peak_memory import _summarise
from tiku.measure.stats import compare_means, compare_paired
from tiku.measure.stats.significance import adjusted, p_value
from tiku.questions._weighing import Weighing

THROUGHPUT = METRICS["throughput"]


@pytest.mark.parametrize("pairs", [3, 5, 7, 15, 200])
@pytest.mark.parametrize("effect", [0.01, 0.03, 0.08])
def test_p_of_a_ratio_of_times_is_that_of_the_paired_t_test_in_its_far_tail_too(pairs, effect) -> None:
    rng = np.random.default_rng(pairs)
    base = np.exp(0.2 * rng.standard_normal(pairs))
    candidate = base * np.exp(effect + 0.02 * rng.standard_normal(pairs))
    comparison = compare(METRICS["p50_latency"], 1.0, 1.0, geometric_ratio(base, candidate))
    expected = ttest_1samp(np.log(candidate / base), 0).pvalue
    assert p_value(comparison) == pytest.approx(expected, rel=2e-3)


def test_p_of_a_single_probe_of_memory_has_the_tails_of_its_two_degrees_of_freedom() -> None:
    base, candidate = np.array([400e6, 404e6, 408e6]), np.array([380e6])
    ratio = _summarise(candidate, base)[1]
    comparison = compare(METRICS["peak_memory"], 1.0, 1.0, ratio)
    expected = ttest_ind(np.log(candidate), np.log(base)).pvalue
    assert 0.03 < expected < 0.07
    assert p_value(comparison) == pytest.approx(expected, rel=1e-3)


def test_p_of_a_mean_over_many_items_is_that_of_the_t_test() -> None:
    rng = np.random.default_rng(0)
    a = rng.exponential(size=400)
    b = a - 0.05 + 0.4 * rng.standard_normal(400)
    comparison = compare_means(METRICS["log_loss"], a, b)
    assert p_value(comparison) == pytest.approx(ttest_1samp(b - a, 0).pvalue, rel=0.02)


@pytest.mark.parametrize(("lost", "won"), [(10, 40), (25, 55), (40, 60)])
def test_p_of_an_accuracy_is_near_that_of_mcnemar(lost: int, won: int) -> None:
    y = np.zeros(1_000, int)
    a, b = y.copy(), y.copy()
    a[:won], b[won : won + lost] = 1, 1
    expected = mcnemar([[1_000 - lost - won, lost], [won, 0]], exact=False, correction=False).pvalue
    assert np.log(p_value(compare_paired(METRICS["accuracy"], y, a, b))) == pytest.approx(
        np.log(expected), rel=0.15
    )


def test_p_is_below_a_twentieth_just_where_the_interval_excludes_no_change() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        pairs = int(rng.integers(3, 12))
        base, candidate = np.exp(rng.standard_normal((2, pairs)) * 0.1)
        comparison = compare(THROUGHPUT, 1.0, 1.0, geometric_ratio(base, candidate * 1.05))
        assert (p_value(comparison) < 0.05) == (comparison.low > 1 or comparison.high < 1)


def test_counts_are_certain_and_an_end_cut_off_at_the_effect_is_no_certainty() -> None:
    assert p_value(Comparison(4, 1, "ratio", 0.25, 0.25, 0.25, "better", 0.0, "exact count")) == 0
    assert p_value(Comparison(4, 4, "ratio", 1.0, 1.0, 1.0, "equivalent", 0.0, "exact count")) == 1
    cut = Comparison(0.5, 0.51, "difference", 0.01, 0.01, 0.09, "better", None, "percentile")
    assert 0.5 < p_value(cut) < 1
    assert p_value(Comparison(0.5, 0.5, "difference", 0.0, -0.01, 0.01, "cannot tell", 0.01, "t")) == 1


@pytest.mark.parametrize(("low", "sure"), [(0.001, True), (-0.001, False)])
def test_of_a_lopsided_interval_the_side_that_faces_no_change_counts(low: float, sure: bool) -> None:
    for sign in (1, -1):
        ends = sorted((sign * low, sign * 0.4))
        found = Comparison(0.5, 0.5 + sign * 0.05, "difference", sign * 0.05, *ends, "better", None, "BCa")
        assert (p_value(found) < 0.05) == sure


def test_without_a_detectable_effect_the_interval_is_read_as_normal() -> None:
    # 3.29 standard errors: two-sided 0.001
    half = 1.959964 / 3.290527 * 0.1
    one = Comparison(0.5, 0.6, "difference", 0.1, 0.1 - half, 0.1 + half, "better", None, "unknown")
    assert p_value(one) == pytest.approx(0.001, rel=1e-3)


def test_adjusted_values_are_holms() -> None:
    one, two = compared("throughput", 1.10, 0.08), compared("throughput", 1.10, 0.05)
    alone = [p_value(c) for c in (one, two)]
    assert adjusted({"one": one, "two": two}) == pytest.approx({"one": alone[0], "two": 2 * alone[1]})
    assert adjusted({}) == {}


def test_a_dozen_recipes_that_change_nothing_are_rarely_called_better() -> None:
    """Five rounds each: with normal tails instead of Student's the correction would not hold."""
    rng = np.random.default_rng(2)
    wrong = {"holm": 0, "each alone": 0}
    for _ in range(250):
        trials = []
        for i in range(12):
            base, candidate = np.exp(0.2 * rng.standard_normal((2, 5)))
            comparison = compare(THROUGHPUT, 1.0, 1.0, geometric_ratio(base, candidate))
            made = trial(f"t{i}", "length-bucketing", accuracy=(0.0, 0.002))
            made.against_base["throughput"] = comparison  # type: ignore[index]
            trials.append(made)
        weighing = Weighing(evidence(*trials), THROUGHPUT, tuple(trials))
        wrong["holm"] += bool(weighing.better())
        wrong["each alone"] += bool(weighing.alone_better())
    assert wrong["holm"] <= binom.ppf(0.9995, 250, 0.025)  # one of the two sides is "better"
    assert wrong["each alone"] > 40
