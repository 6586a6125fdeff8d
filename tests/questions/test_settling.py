"""How many items or measurements a comparison without a verdict would need."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.questions.evidence import METRICS, compared
from tiku.core.verdict import Comparison, judge
from tiku.questions._settling import needed, needed_text

ACCURACY, THROUGHPUT = METRICS["accuracy"], METRICS["throughput"]


def test_an_effect_of_a_third_of_the_half_width_needs_nine_times_the_items() -> None:
    assert needed(ACCURACY, compared("accuracy", 0.02, 0.06), 500) == 4_500
    assert needed(ACCURACY, compared("accuracy", -0.02, 0.06), 500) == 4_500


def test_no_effect_needs_what_shows_equivalence_within_the_margin_of_one_point() -> None:
    assert needed(ACCURACY, compared("accuracy", 0.0, 0.03), 500) == 4_500
    # 0.004 leaves 0.006 to the margin; to exclude 0 it would take the square of 0.012 / 0.004
    assert needed(ACCURACY, compared("accuracy", 0.004, 0.012), 100) == 400


def test_ratios_are_reckoned_on_the_logarithm() -> None:
    comparison = compared("throughput", 1.2, 2 * math.log(1.2))
    assert needed(THROUGHPUT, comparison, 7) == 28


@pytest.mark.parametrize("name", ["accuracy", "throughput"])
def test_so_many_really_settle_it_and_fewer_do_not(name: str) -> None:
    """Shrink the interval as the root of n tells, and judge again."""
    metric, rng = METRICS[name], np.random.default_rng(0)
    for _ in range(200):
        effect = rng.normal(0, 0.03) if name == "accuracy" else math.exp(rng.normal(0, 0.1))
        comparison = compared(name, effect, float(rng.uniform(0.02, 0.3)))
        if comparison.verdict == "cannot tell":
            n = needed(metric, comparison, 1_000)
            assert _judged(comparison, metric, math.sqrt(1_000 / (1.001 * n))) != "cannot tell"
            assert _judged(comparison, metric, math.sqrt(1_000 / (0.99 * n))) == "cannot tell"


def _judged(c: Comparison, metric, shrink: float) -> str:
    if c.scale == "ratio":
        low, high = (c.effect * (end / c.effect) ** shrink for end in (c.low, c.high))
    else:
        low, high = (c.effect + shrink * (end - c.effect) for end in (c.low, c.high))
    return judge(metric, low, high)


def test_quality_is_counted_in_items_and_time_in_measurements_with_the_same_numbers_in_both_languages() -> (
    None
):
    items = needed_text(ACCURACY, compared("accuracy", 0.02, 0.06), 500)
    assert items.en == "about 4,500 items would be needed (500 now)"
    assert "4,500" in items.zh and "500" in items.zh and "样本" in items.zh
    rounds = needed_text(THROUGHPUT, compared("throughput", 1.2, 2 * math.log(1.2)), 7)
    assert "28 measurements" in rounds.en and "28 次" in rounds.zh
