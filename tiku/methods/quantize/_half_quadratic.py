"""HQQ: a grid that fits all weights but the few that fit no grid, found without data.

Shape letters: O outputs, I inputs, G groups along the inputs, g inputs of a group.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from tiku.methods.quantize._grid import Grid

__all__ = ["lp_error", "refine"]

_POWER = 0.7  # of the norm: below 1 it all but ignores the few large errors
# beta ties the split-off errors to the real ones. At first only what lies further off than half a step
# of the grid, where no code is near, is split off; then ever smaller errors are.
_START, _GROWTH = 2.5, 1.2
_CHUNK = 1 << 18


def lp_error(weight_OI: Tensor, grid: Grid) -> Tensor:
    """Sum of |error|^0.7 per output and group (O, G), rounded to nearest."""
    away = (grid.codes_of(weight_OI).weight() - weight_OI).abs()
    return away.pow(_POWER).reshape(len(weight_OI), -1, grid.group).sum(-1)


def refine(weight_OI: Tensor, grid: Grid, *, steps: int = 20) -> Grid:
    """The grid with other zero points and scales: half-quadratic splitting of the l_0.7 error (Badri &
    Shaji 2023). Errors are split off by shrinkage, and what is left gives zero point and scale anew.

    Unlike there the zero points stay whole numbers, since they are stored so, and the scale (their fixed
    quantity) moves too. A group keeps its old grid unless the new one lowers its l_0.7 error.
    """
    import torch

    step = max(1, _CHUNK // weight_OI.shape[1])
    found = []
    for at in range(0, len(weight_OI), step):
        rows = slice(at, at + step)
        part = replace(grid, scale_OG=grid.scale_OG[rows], zero_OG=grid.zero_OG[rows])
        found.append(_refined(weight_OI[rows], part, steps))
    return replace(
        grid,
        scale_OG=torch.cat([one.scale_OG for one in found]),
        zero_OG=torch.cat([one.zero_OG for one in found]),
    )


def _refined(weight_OI: Tensor, grid: Grid, steps: int) -> Grid:
    import torch

    parts_OGg = weight_OI.reshape(len(weight_OI), -1, grid.group)
    best, least = grid, lp_error(weight_OI, grid)
    now, beta = grid, _START
    for _ in range(steps):
        now = _step(parts_OGg, now, beta)
        error = lp_error(weight_OI, now)
        better = error < least
        if not better.any():
            break
        least = torch.where(better, error, least)
        best = replace(
            best,
            scale_OG=torch.where(better, now.scale_OG, best.scale_OG),
            zero_OG=torch.where(better, now.zero_OG, best.zero_OG),
        )
        beta *= _GROWTH
    return best


def _step(parts_OGg: Tensor, grid: Grid, beta: float) -> Grid:
    """Round; split the errors off; fit zero point and scale to what is left by least squares."""
    import torch

    scale, zero, top = grid.scale_OG[..., None], grid.zero_OG[..., None], grid.kind.top
    codes = (parts_OGg / scale).round_().add_(zero).clamp_(0, top)
    away = parts_OGg / scale - (codes - zero)  # in steps: shrinkage is not scale-free
    left = parts_OGg - _shrink(away, beta) * scale
    if not grid.kind.symmetric:
        zero = (codes - left / scale).mean(-1, keepdim=True).round_().clamp_(0, top)
    steps_from_zero = codes - zero
    fitted = (left * steps_from_zero).sum(-1) / steps_from_zero.square().sum(-1)
    usable = fitted.isfinite() & (fitted > 0)
    return replace(grid, scale_OG=torch.where(usable, fitted, grid.scale_OG), zero_OG=zero.squeeze(-1))


def _shrink(away: Tensor, beta: float) -> Tensor:
    """Generalised soft thresholding for the l_p norm: sign(x) relu(|x| - |x|^(p - 1) / beta)."""
    magnitude = away.abs()
    return away.sign() * (magnitude - magnitude.clamp(min=1e-8).pow(_POWER - 1) / beta).clamp_(min=0)
