"""The grid of few-bit numbers that a weight is rounded to: scales and zero points by group of inputs.

Shape letters: O outputs, I inputs, G groups along the inputs, g inputs of a group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tiku.core.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

    from tiku.layers.quantized_linear import Codes

__all__ = ["Grid", "GridKind", "fit_grid", "round_to_nearest"]

_SHRINKS = tuple(1 - step / 40 for step in range(20))  # 1 … 0.525 of the range
_CHUNK = 1 << 17  # weights searched at a time: they stay in the cache
_SMALLEST_GROUP = 32
_SMALLEST = 1e-30  # below it a group counts as zero: its scale would leave float32's normal range


@dataclass(frozen=True)
class GridKind:
    """`bits`, inputs per scale (`group` None: one scale per output), and whether zero lies in the middle.
    `bf16_scales`: scales that bfloat16 holds, for layers that multiply in it."""

    bits: int
    group: int | None
    symmetric: bool
    search: bool = True
    bf16_scales: bool = False

    def group_of(self, inputs: int) -> int:
        """The group size for a layer with so many inputs: the asked one, or its half or quarter down to 32
        if only that divides them, else all of them."""
        group = self.group
        while group and inputs % group and group % 2 == 0 and group // 2 >= _SMALLEST_GROUP:
            group //= 2
        return group if group and inputs % group == 0 else inputs

    @property
    def top(self) -> int:
        """The largest code."""
        return (1 << self.bits) - 1

    @property
    def middle(self) -> int:
        """The code of zero in a symmetric grid."""
        return 1 << (self.bits - 1)


@dataclass(frozen=True, eq=False)
class Grid:
    """`scale_OG` positive, `zero_OG` whole numbers in 0 … top, both float32."""

    kind: GridKind
    group: int
    scale_OG: Tensor
    zero_OG: Tensor

    def codes_of(self, weight_OI: Tensor) -> Codes:
        """Each weight to its nearest code."""
        import torch

        outputs, inputs = weight_OI.shape
        parts = weight_OI.reshape(outputs, -1, self.group)
        nearest = torch.round(parts / self.scale_OG[..., None]).add_(self.zero_OG[..., None])
        return self.coded(nearest.clamp_(0, self.kind.top).reshape(outputs, inputs))

    def coded(self, codes_OI: Tensor) -> Codes:
        """Codes that were chosen elsewhere on this grid."""
        import torch

        from tiku.layers.quantized_linear import Codes

        zero = None if self.kind.symmetric else self.zero_OG.to(torch.uint8)
        return Codes(self.kind.bits, self.group, codes_OI.to(torch.uint8), self.scale_OG, zero)


def round_to_nearest(weight_OI: Tensor, kind: GridKind, importance_I: Tensor | None = None) -> Codes:
    """Round to the grid that `fit_grid` finds."""
    return fit_grid(weight_OI, kind, importance_I).codes_of(weight_OI)


def fit_grid(weight_OI: Tensor, kind: GridKind, importance_I: Tensor | None = None) -> Grid:
    """The grid of least squared error per group among ranges shrunk in steps of 1/40 (clip search).

    `importance_I` weighs the inputs (the diagonal of a Hessian); None: all alike. A group of zeros gets
    the scale 1. Raises `ModelError` on weights that are not finite.
    """
    import torch

    if not torch.isfinite(weight_OI).all():
        raise ModelError(
            "a weight is not a finite number",
            got=f"a layer of shape {tuple(weight_OI.shape)}",
            allowed="finite weights",
            next_step="load or train the model again",
        )
    outputs, inputs = weight_OI.shape
    group = kind.group_of(inputs)
    importance = None if importance_I is None else importance_I.float().reshape(-1, group)
    step = max(1, _CHUNK // inputs)
    found = [
        _search(weight_OI[at : at + step].float().reshape(-1, inputs // group, group), kind, importance)
        for at in range(0, outputs, step)
    ]
    scale, zero = (torch.cat([pair[i] for pair in found]) for i in (0, 1))
    return Grid(kind, group, scale.bfloat16().float() if kind.bf16_scales else scale, zero)


def _search(parts_OGg: Tensor, kind: GridKind, importance_Gg: Tensor | None) -> tuple[Tensor, Tensor]:
    """(scale, zero), each (O, G), of the best shrunk range."""
    import torch

    low, high = parts_OGg.amin(-1).clamp_(max=0), parts_OGg.amax(-1).clamp_(min=0)
    if not kind.search:
        return _range_grid(low, high, kind)
    best_error = torch.full_like(low, torch.inf)
    scale, zero = torch.ones_like(low), torch.zeros_like(low)
    for shrink in _SHRINKS:
        tried_scale, tried_zero = _range_grid(low * shrink, high * shrink, kind)
        error = _error(parts_OGg, tried_scale, tried_zero, kind.top, importance_Gg)
        better = error < best_error
        best_error = torch.where(better, error, best_error)
        scale = torch.where(better, tried_scale, scale)
        zero = torch.where(better, tried_zero, zero)
    return scale, zero


def _range_grid(low: Tensor, high: Tensor, kind: GridKind) -> tuple[Tensor, Tensor]:
    """The grid that spans low ≤ 0 ≤ high."""
    import torch

    if kind.symmetric:
        reach = torch.maximum(-low, high)
        scale = reach / (kind.middle - 1)
        zero = torch.full_like(scale, kind.middle)
    else:
        scale = (high - low) / kind.top
        zero = torch.round(-low / scale.clamp(min=_SMALLEST)).clamp_(0, kind.top)
    return torch.where(scale < _SMALLEST, 1.0, scale), zero


def _error(
    parts_OGg: Tensor, scale_OG: Tensor, zero_OG: Tensor, top: int, importance_Gg: Tensor | None
) -> Tensor:
    """Squared error (O, G), weighted by input. Works in place on one scratch tensor: this is the hot loop."""
    scale, zero = scale_OG[..., None], zero_OG[..., None]
    away = (parts_OGg / scale).round_().add_(zero).clamp_(0, top).sub_(zero).mul_(scale).sub_(parts_OGg)
    if importance_Gg is None:
        return away.square_().sum(-1)
    return away.square_().mul_(importance_Gg).sum(-1)
