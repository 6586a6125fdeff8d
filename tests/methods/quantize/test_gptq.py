"""GPTQ: known answers where there is no correlation, brute force where there is, and what it reports."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from tests.methods.quantize.layers import drawn, hessian_of, output_error
from tests.methods.quantize.models import gpt2, logits, mixtral, subject_of
from tiku.core.errors import ModelError
from tiku.methods.quantize._gptq import hessian_error, solve
from tiku.methods.quantize._grid import GridKind, fit_grid
from tiku.methods.quantize.gptq import GPTQ
from tiku.testing import tiny_classifier, tiny_context, tiny_language_model


@pytest.mark.parametrize("kind", [GridKind(4, 32, False), GridKind(3, None, True), GridKind(2, 64, False)])
def test_the_outputs_err_less_than_after_rounding_to_nearest(kind: GridKind) -> None:
    for seed in range(4):
        weight, x = drawn(seed)
        hessian = hessian_of(x)
        grid = fit_grid(weight, kind, hessian.diagonal())
        nearest = output_error(grid.codes_of(weight).weight(), weight, x)
        for act_order in (True, False):
            found = solve(weight, hessian, grid, act_order=act_order).codes.weight()
            assert output_error(found, weight, x) < 0.75 * nearest


def test_fewer_bits_and_larger_groups_err_more() -> None:
    for seed in range(3):
        weight, x = drawn(seed)
        hessian = hessian_of(x)

        def error(bits: int, group: int | None, w=weight, h=hessian, x=x) -> float:
            grid = fit_grid(w, GridKind(bits, group, False), h.diagonal())
            return output_error(solve(w, h, grid).codes.weight(), w, x)

        assert error(4, 32) <= error(4, 128) <= error(4, None)
        assert 2 * error(4, 128) < error(3, 128) and 50 * error(8, 128) < error(4, 128)


@pytest.mark.parametrize("act_order", [True, False])
def test_without_correlation_it_is_rounding_to_nearest(act_order: bool) -> None:
    weight, _ = drawn(0)
    grid = fit_grid(weight, GridKind(4, 32, False))
    for hessian in (torch.eye(256), torch.diag(torch.linspace(0.1, 9, 256))):
        found = solve(weight, hessian, grid, act_order=act_order).codes
        assert torch.equal(found.codes_OI, grid.codes_of(weight).codes_OI)


def test_on_a_toy_it_lies_between_the_optimum_of_all_codes_and_rounding() -> None:
    """All 4^4 rows of codes are tried; the second input is nearly the first, so errors must be split."""
    better = 0
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(1, 4, generator=generator)
        x = torch.randn(64, 4, generator=generator)
        x[:, 1] = x[:, 0] + 0.1 * x[:, 1]
        hessian, grid = hessian_of(x), fit_grid(weight, GridKind(2, 4, False))
        every = torch.tensor(list(itertools.product(range(4), repeat=4)))
        values = (every - grid.zero_OG) * grid.scale_OG
        optimum = min(output_error(row[None], weight, x) for row in values)
        nearest = output_error(grid.codes_of(weight).weight(), weight, x)
        found = output_error(solve(weight, hessian, grid, damping=1e-6).codes.weight(), weight, x)
        assert found >= optimum * (1 - 1e-5)
        better += found <= nearest * (1 + 1e-5)
    assert better >= 34


def test_the_error_of_the_hessian_is_twice_the_error_of_the_outputs() -> None:
    weight, x = drawn(1)
    away = torch.randn_like(weight)
    assert hessian_error(away, hessian_of(x)) == pytest.approx(
        2 * output_error(weight + away, weight, x), rel=1e-3
    )


def test_inputs_that_never_fire_are_rounded_to_nearest_and_counted() -> None:
    weight, x = drawn(2)
    x[:, 7] = x[:, 90] = 0
    grid = fit_grid(weight, GridKind(4, 32, False))
    found = solve(weight, hessian_of(x), grid)
    assert found.dead == 2
    assert torch.equal(found.codes.codes_OI[:, [7, 90]], grid.codes_of(weight).codes_OI[:, [7, 90]])
    alone = solve(weight, torch.zeros(256, 256), grid)
    assert alone.dead == 256 and torch.equal(alone.codes.codes_OI, grid.codes_of(weight).codes_OI)


def test_damping_grows_until_an_indefinite_matrix_has_a_factor() -> None:
    weight, x = drawn(3)
    hessian = hessian_of(x)
    grid = fit_grid(weight, GridKind(4, 32, False))
    assert solve(weight, hessian, grid).damping == 0.01
    mean = float(hessian.diagonal().mean())
    broken = hessian - torch.eye(256) * 0.05 * mean  # least eigenvalue about -0.05 of the mean
    broken.diagonal().clamp_(min=1e-3)
    assert solve(weight, broken, grid).damping > 0.01


def test_a_matrix_that_is_not_finite_is_an_error() -> None:
    weight, x = drawn(3)
    hessian = hessian_of(x)
    hessian[3, 4] = torch.nan
    with pytest.raises(ModelError, match="cannot be factored"):
        solve(weight, hessian, fit_grid(weight, GridKind(4, 32, False)))


IDS = torch.randint(0, 20, (3, 11), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("make", [tiny_classifier, tiny_language_model, lambda: subject_of(gpt2())])
def test_the_report_says_how_much_was_gained(make, tmp_path: Path) -> None:
    subject = make()
    changed = GPTQ(bits=3, group=32).apply(subject, tiny_context(tmp_path))
    told = changed.facts["quantised"]
    assert told["gptq"]["error_relative_to_rounding"] < 0.9
    assert told["calibration"]["fewer_than_wanted"] and told["calibration"]["texts"] <= 48
    assert changed.numerics.scheme == "int3-weight-only"
    assert torch.isfinite(logits(changed.module, IDS)).all()


def test_the_answers_move_less_than_after_rounding(tmp_path: Path) -> None:
    """On the texts it was calibrated on: 3 bits, a whole row per scale."""
    from tiku.methods.quantize.int4_weight_only import Int4WeightOnly

    moved: dict[str, list[float]] = {"gptq": [], "nearest": []}
    for seed in range(4):
        subject, context = tiny_language_model(seed), tiny_context(tmp_path, seed=seed)
        texts = context.splits[0].calibration.inputs()
        ids = [torch.tensor([subject.processor(text)["input_ids"]]) for text in texts]
        before = [logits(subject.module, one) for one in ids]
        for name, method in (("gptq", GPTQ(bits=3, group=None)), ("nearest", Int4WeightOnly(3, None))):
            module = method.apply(subject, context).module
            after = [logits(module, one) for one in ids]
            moved[name].append(sum(float((a - b).square().sum()) for a, b in zip(after, before, strict=True)))
    assert sum(moved["gptq"]) < 0.9 * sum(moved["nearest"])


def test_layers_that_no_token_reached_are_rounded_and_named(tmp_path: Path) -> None:
    subject = subject_of(mixtral())
    subject.module.model.spare = torch.nn.Linear(32, 16)
    changed = GPTQ().apply(subject, tiny_context(tmp_path))
    told = changed.facts["quantised"]
    assert told["rounded_to_nearest_as_no_token_reached_them"] == ["model.spare"]
