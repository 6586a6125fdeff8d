"""Rounding to a grid: known grids, brute force over ranges, and groups in which nothing is left to scale."""

from __future__ import annotations

import itertools

import pytest
import torch

from tiku.core.errors import ModelError
from tiku.methods.quantize._grid import GridKind, fit_grid, round_to_nearest


def error(weight: torch.Tensor, kind: GridKind, importance: torch.Tensor | None = None) -> float:
    away = round_to_nearest(weight, kind, importance).weight() - weight
    return float((away.square() * (1 if importance is None else importance)).sum())


def heavy(seed: int, shape: tuple[int, int] = (16, 256)) -> torch.Tensor:
    """Student's t with 4 degrees of freedom, as trained weights have tails."""
    torch.manual_seed(seed)
    return torch.distributions.StudentT(4.0).sample(shape)


@pytest.mark.parametrize(("bits", "symmetric"), [(2, True), (3, False), (4, True), (4, False), (8, True)])
def test_weights_that_lie_on_the_grid_come_back_exactly(bits: int, symmetric: bool) -> None:
    top, middle = (1 << bits) - 1, 1 << (bits - 1)
    codes = torch.randint(0, top + 1, (4, 64))
    zero = middle if symmetric else 1
    codes[:, ::32], codes[:, 1::32] = top, 1 if symmetric else 0  # every group spans its range
    weight = (codes - zero) * 0.25
    if symmetric:
        weight = weight.clamp(-(middle - 1) * 0.25)
    found = round_to_nearest(weight, GridKind(bits, 32, symmetric))
    assert torch.equal(found.weight(), weight)


def test_more_bits_smaller_groups_a_zero_point_and_the_search_all_lower_the_error() -> None:
    for seed in range(3):
        w = heavy(seed)
        by_bits = [error(w, GridKind(b, 32, True)) for b in (8, 4, 3, 2)]
        assert by_bits == sorted(by_bits) and by_bits[1] > 50 * by_bits[0]
        by_group = [error(w, GridKind(4, g, False)) for g in (32, 64, 128, None)]
        assert by_group == sorted(by_group)
        assert error(w + 1, GridKind(4, 32, False)) < error(w + 1, GridKind(4, 32, True))
        assert error(w, GridKind(3, 64, True)) < error(w, GridKind(3, 64, True, search=False))


def test_the_search_comes_close_to_the_best_scale_there_is() -> None:
    for seed in range(5):
        w = heavy(seed, (1, 32))
        reach = float(w.abs().max())
        best = min(
            float((((w / s).round().clamp(-4, 3) * s) - w).square().sum())
            for s in torch.linspace(reach / 30, reach / 2, 4000)
        )
        # the search reaches down to a half of the range, so it may miss where tails are long
        assert error(w, GridKind(3, 32, True)) <= 1.35 * best


def test_nearest_codes_are_the_best_of_all_on_their_grid() -> None:
    torch.manual_seed(0)
    w = torch.randn(1, 4)
    kind = GridKind(2, 4, False)
    grid = fit_grid(w, kind)
    every = torch.tensor(list(itertools.product(range(4), repeat=4)))
    errors = ((every - grid.zero_OG) * grid.scale_OG - w).square().sum(1)
    assert error(w, kind) == pytest.approx(float(errors.min()), rel=1e-5)


def test_importance_moves_the_grid_towards_the_inputs_that_matter() -> None:
    w = heavy(3, (8, 64))
    importance = torch.ones(64)
    importance[:4] = 1000
    weighed = round_to_nearest(w, GridKind(3, 32, True), importance).weight()
    plain = round_to_nearest(w, GridKind(3, 32, True)).weight()
    assert (weighed - w)[:, :4].square().sum() < (plain - w)[:, :4].square().sum()


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_groups_of_zeros_and_constants_are_exact(bits: int, symmetric: bool) -> None:
    for value in (0.0, 1.5, -0.75, 1e-38, 1e30):
        found = round_to_nearest(torch.full((2, 32), value), GridKind(bits, 32, symmetric)).weight()
        torch.testing.assert_close(found, torch.full((2, 32), value), rtol=1e-6, atol=1e-30)


def test_one_outlier_does_not_make_a_group_worse_than_its_full_range() -> None:
    w = heavy(1, (4, 32)) * 0.01
    w[:, 7] = 5.0
    for symmetric in (True, False):
        assert error(w, GridKind(4, 32, symmetric)) <= error(w, GridKind(4, 32, symmetric, search=False))
        assert round_to_nearest(w, GridKind(4, 32, symmetric)).weight().isfinite().all()


def test_a_layer_whose_inputs_the_group_does_not_divide_gets_a_scale_per_output() -> None:
    assert round_to_nearest(torch.randn(4, 40), GridKind(4, 32, True)).scale_OG.shape == (4, 1)


def test_weights_that_are_not_finite_are_refused() -> None:
    w = torch.ones(2, 32)
    w[1, 5] = torch.nan
    with pytest.raises(ModelError, match="not a finite number"):
        round_to_nearest(w, GridKind(4, 32, True))


def test_the_result_does_not_depend_on_how_rows_are_cut_into_chunks() -> None:
    w = heavy(2, (700, 256))
    whole = round_to_nearest(w, GridKind(4, 64, False)).weight()
    single = torch.cat([round_to_nearest(row[None], GridKind(4, 64, False)).weight() for row in w[::100]])
    assert torch.equal(whole[::100], single)
