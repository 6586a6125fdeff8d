"""Average precision: intervals that cover, and the error by leaving items out. Its value: test_auc.py."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from tiku.measure.stats import average_precision, average_precision_interval

from .simulation import assert_nominal, clustered


def test_average_precision_interval_covers() -> None:
    y = np.arange(2_000_000) % 4 == 0
    truth = average_precision(y, np.random.default_rng(0).standard_normal(y.size) + 1.5 * y)

    def draw(rng):
        label = np.arange(300) % 4 == 0
        return average_precision_interval(label, rng.standard_normal(300) + 1.5 * label), truth

    assert_nominal(draw, least=0.925)


def test_average_precision_error_equals_leaving_each_item_out() -> None:
    rng = np.random.default_rng(9)
    y = rng.integers(0, 2, 400)
    s = rng.standard_normal(400) + y
    kept = [np.arange(400) != i for i in range(400)]
    left = np.array([average_precision_score(y[k], s[k]) for k in kept])
    jackknife = np.sqrt(399 / 400 * ((left - left.mean()) ** 2).sum())
    found = average_precision_interval(y, s)
    logit = np.log([found.low / (1 - found.low), found.high / (1 - found.high)])
    se = (logit[1] - logit[0]) / (2 * 1.959963984540054) * found.value * (1 - found.value)
    assert se == pytest.approx(jackknife, rel=0.02)


def test_average_precision_by_groups_covers() -> None:
    def sample(rng, clusters):
        groups, shared = clustered(rng, clusters, 4)
        y = np.repeat(np.arange(clusters) % 2, 4)
        return y, 1.5 * y + shared + 0.5 * rng.standard_normal(y.size), groups

    truth = average_precision(*sample(np.random.default_rng(0), 300_000)[:2])
    assert_nominal(lambda rng: (average_precision_interval(*sample(rng, 100)), truth), 600, least=0.92)


def test_perfect_average_precision_has_an_interval() -> None:
    found = average_precision_interval([0] * 50 + [1] * 20, range(70))
    assert found.value == found.high == 1 and found.low == pytest.approx(0.025 ** (1 / 20))
