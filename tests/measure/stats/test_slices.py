import numpy as np
import pytest
from scipy.stats import binom

from tiku.core.errors import DataError
from tiku.core.measured import Measured
from tiku.measure.stats import mean_interval, slice_accuracy, slice_metric, wilson

from .simulation import coverage


def test_slices_are_measured_alone_and_small_ones_named() -> None:
    names = np.repeat(["long", "short", "rare"], [60, 100, 7])
    correct = np.concatenate([np.repeat([1, 0], [30, 30]), np.repeat([1, 0], [90, 10]), np.ones(7)])
    found = slice_accuracy(correct, names)
    assert [one.name for one in found.slices] == ["long", "short"]
    assert found.slices[0].measured == wilson(30, 60)
    assert found.slices[0].simultaneous == wilson(30, 60, level=0.975)
    assert found.too_small == (("rare", 7),)
    assert found.worst.value == 0.5


def test_no_slice_large_enough_gives_no_worst() -> None:
    found = slice_accuracy([1, 0, 1], ["a", "b", "b"])
    assert found.worst is None and len(found.too_small) == 2


def _equal_slices(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return (rng.random(2_000) < 0.8).astype(int), np.repeat(np.arange(20), 100)


def test_the_worst_of_equal_slices_is_covered_where_its_own_interval_is_not() -> None:
    share = coverage(lambda rng: (slice_accuracy(*_equal_slices(rng)).worst, 0.8), 300, 0)
    assert share >= binom.ppf(0.0005, 300, 0.95) / 300
    alone = coverage(lambda rng: (slice_accuracy(*_equal_slices(rng)).slices[0].measured, 0.8), 300, 0)
    assert alone < 0.8


def test_the_worst_slice_is_covered_when_slices_differ() -> None:
    rates = np.array([0.95, 0.9, 0.8, 0.78, 0.92])[np.repeat(np.arange(5), 80)]

    def draw(rng):
        return slice_accuracy(rng.random(400) < rates, np.repeat(np.arange(5), 80)).worst, 0.78

    assert coverage(draw, 300, 1) >= binom.ppf(0.0005, 300, 0.95) / 300


def test_lower_is_better_turns_the_worst_round() -> None:
    loss = np.concatenate([np.random.default_rng(0).random(80), 2 + np.random.default_rng(1).random(80)])

    def measure(part: np.ndarray, level: float) -> Measured:
        return mean_interval(loss[part], level=level)

    found = slice_metric(measure, np.repeat([0, 1], 80), direction="lower")
    assert found.slices[0].name == 1 and found.worst.value > 2 and found.worst.low > 2


def test_slices_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError):
        slice_accuracy([1, 0], ["a"])
    with pytest.raises(DataError):
        slice_accuracy([1, 0], ["a", "b"], min_size=0)
