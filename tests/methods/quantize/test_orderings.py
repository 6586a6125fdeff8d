"""What the papers promise shows on a trained model, on texts it never saw, with intervals over texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.methods.quantize import trained
from tiku.core.method import Method
from tiku.core.subject import Subject
from tiku.measure.stats.means import mean_interval
from tiku.methods.quantize.awq import AWQ
from tiku.methods.quantize.gptq import GPTQ
from tiku.methods.quantize.hqq import HQQ
from tiku.methods.quantize.int4_weight_only import Int4WeightOnly
from tiku.methods.quantize.int8_weight_only import Int8WeightOnly

JUDGED = trained.texts(600, 9999)
Changed = Callable[[Method], Subject]


@pytest.fixture(scope="module")
def model() -> Subject:
    return trained.trained()


@pytest.fixture(scope="module")
def changed(model: Subject, tmp_path_factory: pytest.TempPathFactory) -> Changed:
    """The model after a method; each is applied once."""
    context = trained.context(tmp_path_factory.mktemp("orderings"))
    found: dict[Method, Subject] = {}

    def after(method: Method) -> Subject:
        if method not in found:
            found[method] = method.apply(model, context)
        return found[method]

    return after


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    told = mean_interval(values)
    assert told.low is not None and told.high is not None
    return told.low, told.high


def test_the_model_has_learnt_something_that_can_be_lost(model: Subject) -> None:
    assert trained.losses(model, JUDGED).mean() < 0.8 * np.log(92)


@pytest.mark.parametrize(("bits", "group"), [(4, 128), (3, 128), (3, 32)])
def test_layers_err_less_after_gptq_than_after_rounding(model, changed, bits: int, group: int) -> None:
    gptq, nearest = (
        trained.layer_errors(model, changed(method), JUDGED)
        for method in (GPTQ(bits=bits, group=group), Int4WeightOnly(bits, group))
    )
    assert len(gptq) == 14
    low, high = _interval(np.log(gptq / nearest))
    assert high < 0, (low, high)


@pytest.mark.parametrize("group", [128, 32])
def test_answers_move_less_after_awq_than_after_rounding_where_few_channels_are_large(
    model, group: int, tmp_path: Path
) -> None:
    """As in large models; here by hand, so that the model answers as before: what a norm multiplies by
    more, its readers multiply by less."""
    large = trained.with_large_channels(model)
    assert trained.divergences(model, large, JUDGED).mean() < 1e-9
    context = trained.context(tmp_path)
    awq, nearest = (
        trained.divergences(large, method.apply(large, context), JUDGED)
        for method in (AWQ(bits=3, group=group), Int4WeightOnly(3, group))
    )
    assert _interval(awq - nearest)[1] < 0.0


@pytest.mark.parametrize("group", [128, 32])
def test_awq_costs_nothing_where_all_channels_are_alike(model, changed, group: int) -> None:
    awq, nearest = (
        trained.divergences(model, changed(method), JUDGED)
        for method in (AWQ(bits=3, group=group), Int4WeightOnly(3, group))
    )
    assert _interval(awq - nearest)[1] < 0.1 * nearest.mean()


def test_the_loss_after_int8_is_the_loss_before(model, changed) -> None:
    low, high = _interval(trained.losses(changed(Int8WeightOnly()), JUDGED) - trained.losses(model, JUDGED))
    assert low > -0.002 and high < 0.002  # nats per token: a fifth of a per cent of the perplexity


@pytest.mark.parametrize("group", [32, 128])
def test_three_bits_lose_more_than_four_and_move_the_answers_more_than_twice_as_far(
    model, changed, group: int
) -> None:
    three, four = (changed(Int4WeightOnly(bits, group)) for bits in (3, 4))
    assert _interval(trained.losses(three, JUDGED) - trained.losses(four, JUDGED))[0] > 0
    far, near = (trained.divergences(model, one, JUDGED) for one in (three, four))
    assert _interval(far - 2 * near)[0] > 0


@pytest.mark.parametrize("kind", [Int4WeightOnly, GPTQ, HQQ])
@pytest.mark.parametrize("bits", [3, 4])
def test_groups_of_32_move_the_answers_no_more_than_groups_of_128(model, changed, kind, bits: int) -> None:
    small, large = (
        trained.divergences(model, changed(kind(bits=bits, group=group)), JUDGED) for group in (32, 128)
    )
    assert _interval(small - large)[1] <= 0.0


def test_every_ordering_is_of_methods_that_hold_few_bits(changed, tmp_path: Path) -> None:
    """Three bits take fewer bytes than four, and these fewer than eight."""
    sizes = [
        sum(b.numel() * b.element_size() for b in changed(method).module.buffers())
        for method in (Int4WeightOnly(3, 128), Int4WeightOnly(4, 128), Int8WeightOnly())
    ]
    assert sizes == sorted(set(sizes))
