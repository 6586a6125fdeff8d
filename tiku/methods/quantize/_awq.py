"""AWQ: inputs with large activations get a finer grid, by scaling them before the weights are rounded.

Shape letters: O outputs, I inputs. Lin et al. 2024 (arXiv 2306.00978).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tiku.methods.quantize._gptq import hessian_error
from tiku.methods.quantize._grid import GridKind, round_to_nearest

if TYPE_CHECKING:
    from torch import Tensor

    from tiku.layers.quantized_linear import Codes

__all__ = ["Scaling", "search"]

_ALPHAS = tuple(step / 20 for step in range(21))
_TRIED_ROWS, _JUDGED_ROWS = 64, 256


@dataclass(frozen=True, eq=False)
class Scaling:
    """`codes` are those of the weights times `scale_I`. `error` and `nearest` are the errors of the outputs
    with it and with plain rounding, over evenly spread rows. `alpha` 0: no scale was better."""

    scale_I: Tensor
    codes: Codes
    alpha: float
    error: float
    nearest: float


def search(weight_OI: Tensor, hessian_II: Tensor, mean_abs_I: Tensor, kind: GridKind) -> Scaling:
    """The scale mean|x|^alpha with the least error of the outputs, alpha in steps of 1/20; never one that
    errs more than alpha 0. Clipped ranges are searched for the chosen scale and for none."""
    import torch

    few, some = _spread(weight_OI, _TRIED_ROWS), _spread(weight_OI, _JUDGED_ROWS)
    quick = GridKind(kind.bits, kind.group, kind.symmetric, search=False)
    scales = [_scale(mean_abs_I, alpha) for alpha in _ALPHAS]
    tried = [_error(few, s, hessian_II, quick) for s in scales]
    best = min(range(len(tried)), key=tried.__getitem__)
    one = torch.ones_like(mean_abs_I)
    nearest = _error(some, one, hessian_II, kind)
    error = _error(some, scales[best], hessian_II, kind) if best else nearest
    if error >= nearest:
        best, error = 0, nearest
    scale = scales[best] if best else one
    return Scaling(scale, _codes(weight_OI, scale, hessian_II, kind), _ALPHAS[best], error, nearest)


def _scale(mean_abs_I: Tensor, alpha: float) -> Tensor:
    """Around 1, at most 1e4 from the smallest to the largest; inputs that never fired keep 1."""
    import torch

    alive = mean_abs_I > 0
    if not alive.any():
        return torch.ones_like(mean_abs_I)
    middle = mean_abs_I[alive].log().mean().exp()
    scale = (mean_abs_I / middle).pow(alpha).clamp(1e-2, 1e2)
    return torch.where(alive, scale, 1.0)


def _codes(weight_OI: Tensor, scale_I: Tensor, hessian_II: Tensor, kind: GridKind) -> Codes:
    return round_to_nearest(weight_OI * scale_I, kind, hessian_II.diagonal() / scale_I.square())


def _error(weight_OI: Tensor, scale_I: Tensor, hessian_II: Tensor, kind: GridKind) -> float:
    rounded = _codes(weight_OI, scale_I, hessian_II, kind).weight() / scale_I
    return hessian_error(rounded - weight_OI, hessian_II)


def _spread(weight_OI: Tensor, rows: int) -> Tensor:
    return weight_OI[:: -(-len(weight_OI) // rows)]
