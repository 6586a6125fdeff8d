import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom, multinomial, norm, permutation_test, ttest_rel
from statsmodels.stats.contingency_tables import mcnemar as sm_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from tiku.core.errors import DataError
from tiku.measure.stats import (
    auc_roc,
    delong_test,
    detectable_effect,
    detectable_paired_accuracy,
    holm,
    items_for_effect,
    items_for_paired_accuracy,
    mcnemar,
    paired_proportion_difference,
    sign_flip_test,
    tost,
)

from .simulation import clustered


def _table(both: int, lost: int, won: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Base and candidate right or wrong with these counts."""
    base = np.repeat([1, 1, 0, 0], [both, lost, won, neither])
    return base, np.repeat([1, 0, 1, 0], [both, lost, won, neither])


@pytest.mark.parametrize(
    "counts", [(10, 3, 9, 5), (0, 0, 6, 0), (50, 20, 20, 10), (5, 0, 0, 5), (100, 31, 70, 9)]
)
def test_mcnemar_equals_statsmodels_and_the_sum_of_binomial_tails(counts: tuple[int, ...]) -> None:
    base, candidate = _table(*counts)
    both, lost, won, neither = counts
    expected = sm_mcnemar([[both, lost], [won, neither]], exact=True).pvalue
    assert mcnemar(base, candidate, mid_p=False).p_value == pytest.approx(min(1, expected), abs=1e-12)
    if lost + won:
        few, m = min(lost, won), lost + won
        tail = sum(binom.pmf(k, m, 0.5) for k in range(few)) + binom.pmf(few, m, 0.5) / 2
        assert mcnemar(base, candidate).p_value == pytest.approx(min(1.0, 2 * tail), abs=1e-12)
    assert mcnemar(base, candidate).effect == pytest.approx((won - lost) / sum(counts))


@pytest.mark.parametrize(("lost", "won", "same"), [(0.05, 0.1, 0.85), (0.02, 0.02, 0.96), (0.3, 0.1, 0.6)])
def test_tango_interval_covers_by_enumeration_of_every_outcome(lost: float, won: float, same: float) -> None:
    n, held = 50, 0.0
    for b, c in itertools.product(range(n + 1), repeat=2):
        if b + c <= n:
            chance = multinomial.pmf([b, c, n - b - c], n, [lost, won, same])
            if chance > 1e-10:
                found = paired_proportion_difference(*_table(n - b - c, b, c, 0))
                held += chance * (found.low <= won - lost <= found.high)
    assert 0.93 <= held <= 0.99


def test_tango_interval_touches_zero_just_where_mcnemars_statistic_is_critical() -> None:
    for lost in range(0, 30, 3):
        for won in range(0, 40, 3):
            if lost + won:
                found = paired_proportion_difference(*_table(100, lost, won, 20))
                critical = abs(won - lost) / math.sqrt(lost + won) > norm.ppf(0.975)
                assert (found.low > 0 or found.high < 0) == critical


def test_tango_interval_mirrors_when_the_models_swap() -> None:
    base, candidate = _table(30, 4, 11, 9)
    a, b = paired_proportion_difference(base, candidate), paired_proportion_difference(candidate, base)
    assert (a.low, a.value, a.high) == pytest.approx((-b.high, -b.value, -b.low), abs=1e-12)


def test_models_that_never_differ_leave_room_for_a_difference() -> None:
    found = paired_proportion_difference([1] * 50, [1] * 50)
    assert found.value == 0 and -0.08 < found.low < -0.05 and 0.05 < found.high < 0.08


@pytest.mark.parametrize("seed", range(5))
def test_sign_flips_are_enumerated_as_scipy_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 5, 11) * 0.1, rng.integers(0, 6, 11) * 0.1
    reference = permutation_test(
        (b, a), lambda x, y, axis: (x - y).mean(axis=axis), permutation_type="samples", vectorized=True,
        n_resamples=np.inf,
    )  # fmt: skip
    assert sign_flip_test(a, b).p_value == pytest.approx(reference.pvalue, abs=1e-12)


def test_random_sign_flips_agree_with_the_exact_test_on_answers_and_with_t_on_means() -> None:
    base, candidate = _table(60, 8, 22, 10)
    exact = mcnemar(base, candidate, mid_p=False).p_value
    assert sign_flip_test(base, candidate, replicates=200_000).p_value == pytest.approx(exact, rel=0.1)
    rng = np.random.default_rng(0)
    a = rng.standard_normal(300)
    b = a + 0.12 + rng.standard_normal(300)
    expected = ttest_rel(a, b).pvalue
    assert sign_flip_test(a, b, replicates=50_000).p_value == pytest.approx(expected, rel=0.1)


def test_swapping_whole_groups_keeps_the_size_of_the_test_where_swapping_items_does_not() -> None:
    rng = np.random.default_rng(1)
    found = {True: 0, False: 0}
    for _ in range(300):
        groups, shared = clustered(rng, 30, 6)
        a = rng.standard_normal(180)
        b = a + shared + 0.5 * rng.standard_normal(180)
        for by in found:
            found[by] += sign_flip_test(a, b, groups if by else None, replicates=300).p_value < 0.05
    assert found[True] <= binom.ppf(0.9995, 300, 0.06)
    assert found[False] > 60


def _all_pairs_delong(y, a, b) -> tuple[float, float]:
    """Effect and p-value over the matrix of all pairs (DeLong et al. 1988, equations 4 to 7)."""
    won = [(s[y == 1][:, None] > s[y == 0]) + 0.5 * (s[y == 1][:, None] == s[y == 0]) for s in (a, b)]
    rows, columns = np.cov([w.mean(1) for w in won]), np.cov([w.mean(0) for w in won])
    s = rows / (y == 1).sum() + columns / (y == 0).sum()
    effect = won[1].mean() - won[0].mean()
    return effect, 2 * norm.sf(abs(effect) / math.sqrt(s[0, 0] + s[1, 1] - 2 * s[0, 1]))


def test_paired_delong_equals_the_matrix_of_all_pairs() -> None:
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, 150)
    a = y + rng.standard_normal(150)
    b = (0.6 * a + y + rng.standard_normal(150)).round(1)
    effect, p = _all_pairs_delong(y, a, b)
    found = delong_test(y, a, b)
    assert (found.effect, found.p_value) == (pytest.approx(effect), pytest.approx(p, rel=1e-9))
    assert found.effect == pytest.approx(auc_roc(y, b) - auc_roc(y, a))
    assert delong_test(y, a, 3 * a + 1).p_value == 1


def test_paired_delong_keeps_its_size_and_groups_keep_theirs() -> None:
    rng = np.random.default_rng(3)
    rejected = 0
    for _ in range(500):
        y = np.repeat(np.arange(60) % 2, 3)
        groups, shared = clustered(rng, 60, 3)
        other = rng.standard_normal(60)[groups]
        noise = 0.5 * rng.standard_normal((2, 180))
        rejected += delong_test(y, y + shared + noise[0], y + other + noise[1], groups).p_value < 0.05
    assert binom.ppf(0.0005, 500, 0.04) <= rejected <= binom.ppf(0.9995, 500, 0.07)


def test_holm_equals_statsmodels() -> None:
    rng = np.random.default_rng(4)
    for m in (1, 2, 9):
        p = rng.random(m) ** 3
        assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-15)
    with pytest.raises(DataError):
        holm([0.1, 1.2])


def test_tost_equals_statsmodels_on_paired_values() -> None:
    rng = np.random.default_rng(5)
    a = rng.standard_normal(40)
    b = a + 0.05 + 0.3 * rng.standard_normal(40)
    effect, se = (b - a).mean(), (b - a).std(ddof=1) / math.sqrt(40)
    for margin in (0.1, 0.2, 0.02):
        assert tost(effect, se, margin, degrees=39) == pytest.approx(
            ttost_paired(b, a, -margin, margin)[0], abs=1e-12
        )
    with pytest.raises(DataError):
        tost(0, 1, 0)


def test_items_needed_give_the_power_asked_for_by_simulation() -> None:
    n = items_for_paired_accuracy(0.2, 0.05)
    rng = np.random.default_rng(6)
    lost, won, _ = rng.multinomial(n, [0.075, 0.125, 0.8], size=4_000).T
    found = np.abs(won - lost) / np.sqrt(lost + won) > norm.ppf(0.975)
    assert found.mean() == pytest.approx(0.8, abs=0.02)


def test_detectable_effect_is_the_inverse_of_items_needed() -> None:
    for n in (200, 1_000, 50_000):
        effect = detectable_paired_accuracy(0.15, n)
        assert items_for_paired_accuracy(0.15, effect) in (n, n + 1)
    assert detectable_paired_accuracy(0.05, 20) is None
    assert items_for_effect(2.0, detectable_effect(2.0 / math.sqrt(500))) in (500, 501)


def test_power_inputs_out_of_range_are_refused() -> None:
    for call in (
        lambda: items_for_paired_accuracy(0.0, 0.1),
        lambda: items_for_paired_accuracy(0.1, 0.2),
        lambda: items_for_paired_accuracy(0.1, 0.0),
        lambda: items_for_effect(-1, 0.1),
        lambda: detectable_effect(1, power=1.0),
        lambda: detectable_effect(math.nan),
        lambda: mcnemar([1, 0], [1]),
        lambda: mcnemar([0.5], [1]),
    ):
        with pytest.raises(DataError):
            call()
