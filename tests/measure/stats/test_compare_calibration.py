import numpy as np
import pytest
from scipy.stats import norm

from tiku.core.errors import DataError
from tiku.core.measured import Measured
from tiku.measure.stats import compare_ece, ece_interval

from .simulation import assert_nominal, clustered, metric

ECE = metric("ece", "lower")


def _models(rng: np.random.Generator, n: int, gaps: tuple[float, float], alike: float, groups=None):
    """Two models' confidences and whether they are right, on the same items; each is overconfident by its
    gap everywhere, which is its calibration error however the bins fall. `alike`: correlation of both."""
    ease, luck = rng.standard_normal((2, n)), rng.standard_normal((2, n))
    if groups is not None:
        luck = 0.8 * rng.standard_normal((2, groups.max() + 1))[:, groups] + 0.6 * luck
    ease[1], luck[1] = (alike * part[0] + np.sqrt(1 - alike**2) * part[1] for part in (ease, luck))
    confidence = 0.55 + 0.43 * norm.cdf(ease)
    right = norm.cdf(luck) < confidence - np.array(gaps)[:, None]
    return (confidence[0], right[0]), (confidence[1], right[1])


def _as_measured(found) -> Measured:
    return Measured(found.effect, found.low, found.high, 1, "1", "measured", found.test)


@pytest.mark.parametrize(
    ("gaps", "alike"),
    [((0.0, 0.05), 0.9), ((0.0, 0.0), 0.9), ((0.12, 0.15), 0.0), ((0.10, 0.10), 0.98)],
)
@pytest.mark.parametrize("mode", ["mass", "width"])
def test_difference_of_calibration_errors_covers(gaps: tuple[float, float], alike: float, mode: str) -> None:
    """Nearly calibrated models too: there the joined interval must not lean on a correlation."""
    truth = gaps[1] - gaps[0]

    def draw(rng):
        base, candidate = _models(rng, 600, gaps, alike)
        return _as_measured(compare_ece(ECE, base, candidate, bins=10, mode=mode)), truth

    assert_nominal(draw, 60, least=0.93, most=1.0)


def test_difference_by_groups_covers() -> None:
    def draw(rng):
        groups, _ = clustered(rng, 100, 6)
        base, candidate = _models(rng, 600, (0.08, 0.08), 0.9, groups)
        return _as_measured(compare_ece(ECE, base, candidate, groups, bins=10)), 0.0

    assert_nominal(draw, 60, least=0.93, most=1.0)


def test_models_that_answer_alike_are_narrower_than_models_that_do_not() -> None:
    def width(alike: float) -> float:
        found = compare_ece(ECE, *_models(np.random.default_rng(1), 2_000, (0.10, 0.12), alike))
        return found.high - found.low

    assert width(0.99) < 0.5 * width(0.0)


def test_a_clear_change_has_its_verdict_and_swapping_the_models_turns_it_round() -> None:
    base, candidate = _models(np.random.default_rng(2), 3_000, (0.02, 0.12), 0.9)
    found, back = compare_ece(ECE, base, candidate), compare_ece(ECE, candidate, base)
    assert (found.verdict, back.verdict) == ("worse", "better")
    assert (found.base, found.value, found.effect) == (back.value, back.base, -back.effect)
    assert (found.low, found.high) == pytest.approx((-back.high, -back.low), abs=2e-3)
    assert found.effect == pytest.approx(0.1, abs=0.03)
    assert found.base == ece_interval(*base, mode="mass").value
    assert found.smallest_detectable == pytest.approx((found.high - found.low) / 2 * 2.8016 / 1.96, rel=1e-3)


@pytest.mark.parametrize("gaps", [(0.0, 0.0), (0.10, 0.10)])
def test_outputs_that_hardly_move_are_equivalent_when_there_are_enough_items(gaps) -> None:
    rng = np.random.default_rng(3)
    for n, verdict in [(100, "cannot tell"), (1_000, "equivalent")]:
        (confidence, right), _ = _models(rng, n, gaps, 1.0)
        nearly = confidence + 1e-6 * rng.standard_normal(n)  # another runtime, the same weights
        for other in (confidence, nearly):
            found = compare_ece(ECE, (confidence, right), (other, right))
            assert found.verdict == verdict
            assert abs(found.effect) < 1e-4


def test_what_cannot_be_compared_is_refused() -> None:
    good = ([0.9, 0.8], [1, 0])
    for call in (
        lambda: compare_ece(metric("ece", "lower", "ratio"), good, good),
        lambda: compare_ece(ECE, good, ([0.9], [1])),
        lambda: compare_ece(ECE, good, ([1.2, 0.1], [1, 0])),
        lambda: compare_ece(ECE, good, ([0.9, 0.8], [1, 2])),
        lambda: compare_ece(ECE, good, good, ["one", "one"]),
    ):
        with pytest.raises(DataError):
            call()
