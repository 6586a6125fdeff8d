import numpy as np
import pytest
from scipy.stats import binom, ttest_1samp

from tiku.core.errors import DataError
from tiku.measure.stats import (
    items_for_quantile,
    mean_interval,
    median_interval,
    paired_ratio,
    quantile_interval,
    ratio_interval,
)
from tiku.measure.stats.quantiles import order_statistic_ranks

from .simulation import assert_nominal, clustered


def test_mean_with_t_equals_scipy() -> None:
    x = np.random.default_rng(0).exponential(size=23)
    found, expected = mean_interval(x, unit="s"), ttest_1samp(x, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.value, found.n, found.unit) == (pytest.approx(x.mean()), 23, "s")


@pytest.mark.parametrize("method", ["abc", "bootstrap"])
def test_mean_of_skewed_values_covers(method: str) -> None:
    def draw(rng):
        return mean_interval(rng.exponential(size=60), method=method, replicates=400, seed=1), 1.0

    assert_nominal(draw, 400, least=0.925)


def test_closed_form_abc_is_close_to_bca_with_many_replicates() -> None:
    x = np.random.default_rng(1).lognormal(sigma=1, size=150)
    slow, fast = mean_interval(x, method="bootstrap", replicates=60_000), mean_interval(x, method="abc")
    width = slow.high - slow.low
    assert fast.low == pytest.approx(slow.low, abs=0.04 * width)
    assert fast.high == pytest.approx(slow.high, abs=0.04 * width)
    plain = mean_interval(x)
    assert fast.high > plain.high and fast.low > plain.low


@pytest.mark.parametrize("method", ["t", "abc", "bootstrap"])
def test_mean_by_groups_covers(method: str) -> None:
    def draw(rng):
        groups, shared = clustered(rng, 50, 4)
        x = shared + rng.standard_normal(200)
        return mean_interval(x, groups, method=method, replicates=400, seed=1), 0.0

    assert_nominal(draw, 500, least=0.925)


def test_ratio_of_sums_covers() -> None:
    def draw(rng):
        size = rng.integers(1, 30, 80)
        return ratio_interval(size * 0.3 + rng.normal(0, np.sqrt(size)), size), 0.3

    assert_nominal(draw)


def test_one_value_has_no_interval() -> None:
    assert mean_interval([3.0]).low is None
    assert ratio_interval([3.0], [2.0]).high is None


@pytest.mark.parametrize(("n", "q"), [(6, 0.5), (30, 0.5), (101, 0.9), (100, 0.95), (400, 0.99), (500, 0.05)])
def test_ranks_hold_the_quantile_and_the_next_narrower_ones_do_not(n: int, q: float) -> None:
    low, high = order_statistic_ranks(n, q)
    count = binom.pmf(np.arange(n + 1), n, q)  # how many values lie at or under the quantile
    assert count[:low].sum() <= 0.025 < count[: low + 1].sum()
    assert count[high:].sum() <= 0.025 < count[high - 1 :].sum()


@pytest.mark.parametrize(("q", "needed"), [(0.5, 6), (0.95, 72), (0.99, 368)])
def test_a_quantile_without_enough_values_says_how_many_it_needs(q: float, needed: int) -> None:
    assert items_for_quantile(q) == needed
    short = quantile_interval(np.arange(needed - 1), q)
    assert short.low is None and str(needed) in short.estimator
    assert quantile_interval(np.arange(needed), q).low is not None


@pytest.mark.parametrize(("q", "n"), [(0.5, 25), (0.95, 150), (0.99, 500)])
def test_quantile_interval_covers(q: float, n: int) -> None:
    truth = -np.log(1 - q)
    assert_nominal(lambda rng: (quantile_interval(rng.exponential(size=n), q), truth), least=0.95, most=0.985)


def test_median_is_numpys_and_keeps_its_unit() -> None:
    x = np.random.default_rng(2).random(40)
    found = median_interval(x, unit="s")
    assert found.value == pytest.approx(np.median(x)) and found.unit == "s"


def _pairs(rng: np.random.Generator, n: int, drift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Times that share slow spells; the candidate takes 0.8 of the base."""
    shared = np.exp(0.3 * rng.standard_normal(n))
    wander = np.exp(drift * np.cumsum(rng.standard_normal(n)) / np.sqrt(n))
    return shared * rng.gamma(50, 1 / 50, n), 0.8 * shared * wander * rng.gamma(50, 1 / 50, n)


@pytest.mark.parametrize(
    ("method", "n", "most"),
    [
        ("median of ratios", 9, 0.999),
        ("median of ratios", 40, 0.985),
        ("ratio of means", 8, 0.975),
        ("ratio of means", 40, 0.97),
        ("ratio of medians", 40, 0.995),
    ],
)
def test_ratio_of_interleaved_pairs_covers(method: str, n: int, most: float) -> None:
    assert_nominal(
        lambda rng: (paired_ratio(*_pairs(rng, n), method=method, replicates=400, seed=1), 0.8), 600,
        least=0.92, most=most,
    )  # fmt: skip


def test_pairing_removes_the_noise_that_both_share() -> None:
    a, b = _pairs(np.random.default_rng(3), 60)
    found = paired_ratio(a, b)
    apart = paired_ratio(a, np.random.default_rng(4).permutation(b))
    assert found.high - found.low < 0.6 * (apart.high - apart.low)


def _slow_noise(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Log ratios that depend on their neighbours (AR(1), 0.6)."""
    noise = rng.standard_normal(n)
    for i in range(1, n):
        noise[i] = 0.6 * noise[i - 1] + 0.8 * noise[i]
    return np.ones(n), np.exp(0.05 * noise)


def test_blocks_cover_better_when_neighbouring_pairs_depend_on_each_other() -> None:
    rng = np.random.default_rng(5)
    truth, held = float(np.exp(0.05**2 / 2)), {1: 0, 8: 0}
    for _ in range(300):
        a, b = _slow_noise(rng, 120)
        for block in held:
            found = paired_ratio(a, b, method="ratio of means", block=block, replicates=300)
            held[block] += found.low <= truth <= found.high
    assert held[1] < 240 and held[8] > 261
    assert paired_ratio(a, b, method="ratio of means", block="auto").estimator.startswith(
        "ratio of means, block of 5"
    )


def test_the_ratio_turns_over_when_the_roles_swap() -> None:
    a, b = _pairs(np.random.default_rng(6), 21)
    for method in ("median of ratios", "ratio of means", "ratio of medians"):
        one, other = paired_ratio(a, b, method=method), paired_ratio(b, a, method=method)
        assert one.value == pytest.approx(1 / other.value)
        assert one.low == pytest.approx(1 / other.high)


def test_too_few_pairs_give_the_ratio_without_an_interval() -> None:
    assert paired_ratio([1, 2], [2, 4], method="ratio of means").low is None
    assert paired_ratio([1.0] * 5, [2.0] * 5).low is None


def test_values_that_make_no_ratio_or_quantile_are_refused() -> None:
    for call in (
        lambda: paired_ratio([1, 0], [1, 1]),
        lambda: paired_ratio([1, 2], [1, 1], method="ratio of modes"),
        lambda: paired_ratio([1, 2, 3], [1, 1, 1], block=2),
        lambda: ratio_interval([1, 2], [0, 0]),
        lambda: ratio_interval([1, 2], [-1, 2]),
        lambda: mean_interval([1, np.inf]),
        lambda: mean_interval([1, 2], method="z"),
        lambda: quantile_interval([1, 2], 1.0),
        lambda: quantile_interval([], 0.5),
    ):
        with pytest.raises(DataError):
            call()
