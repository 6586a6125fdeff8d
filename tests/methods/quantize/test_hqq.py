"""HQQ: never worse by its own measure, better where a few weights fit no grid."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tiku.methods.quantize._grid import Grid, GridKind, fit_grid
from tiku.methods.quantize._half_quadratic import lp_error, refine
from tiku.methods.quantize.hqq import HQQ
from tiku.testing import tiny_context, tiny_language_model


def off_grid(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights on a grid of 4 bits (scale 0.1, zero 5) but for two per group of 64, and which those are."""
    generator = torch.Generator().manual_seed(seed)
    weight = (torch.randint(0, 16, (16, 128), generator=generator) - 5) * 0.1
    strange = torch.zeros(16, 128, dtype=torch.bool)
    strange[:, 2::64] = strange[:, 3::64] = True
    return torch.where(strange, 1.35, weight), strange


@pytest.mark.parametrize("kind", [GridKind(4, 64, False), GridKind(3, 32, False), GridKind(4, 64, True)])
def test_no_group_errs_more_than_before(kind: GridKind) -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        weight = torch.distributions.StudentT(4.0).sample((16, 256))
        grid = fit_grid(weight, kind)
        before, after = lp_error(weight, grid), lp_error(weight, refine(weight, grid))
        assert (after <= before).all() and after.sum() < 0.99 * before.sum()


def test_weights_that_fit_no_grid_do_not_pull_the_scale_away() -> None:
    """From a start that is 2 % off, the others' own scale is found, where least squares is pulled off it."""
    for seed in range(4):
        weight, strange = off_grid(seed)
        true = torch.full((16, 2), 0.1)
        start = Grid(GridKind(4, 64, False), 64, true * 1.02, torch.full((16, 2), 5.0))
        scales = refine(weight, start).scale_OG
        steps = start.codes_of(weight).codes_OI.float() - 5
        fitted = [(w * k).sum() / k.square().sum() for w, k in zip(weight, steps, strict=True)]
        assert (torch.stack(fitted) - 0.1).abs().median() > 4e-4
        assert (scales - true).abs().median() < 1e-4
        found = refine(weight, start).codes_of(weight).weight()
        assert (found - weight).abs()[~strange].median() < 1e-3


def test_zero_points_stay_whole_and_groups_of_zeros_stay_zero() -> None:
    torch.manual_seed(0)
    weight = torch.randn(8, 128)
    weight[:, :64] = 0
    found = refine(weight, fit_grid(weight, GridKind(4, 64, False)))
    assert torch.equal(found.zero_OG, found.zero_OG.round().clamp(0, 15))
    assert not found.codes_of(weight).weight()[:, :64].any()
    assert found.scale_OG.isfinite().all() and (found.scale_OG > 0).all()


def test_the_report_counts_the_groups_that_moved(tmp_path: Path) -> None:
    changed = HQQ(bits=3, group=32).apply(tiny_language_model(), tiny_context(tmp_path))
    told = changed.facts["quantised"]["hqq"]
    assert 0 < told["groups_moved"] <= told["groups"] == 2 * (4 * 32 - 32 + 2 * 64 + 2 * 32)
    assert told["error_relative"] < 1 and changed.numerics.scheme == "int3-weight-only"
