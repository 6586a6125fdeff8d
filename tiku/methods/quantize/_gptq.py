"""GPTQ: round input by input, and let the inputs that are still free make up for each error.

Shape letters: O outputs, I inputs, G groups along the inputs. Frantar et al. 2022 (arXiv 2210.17323).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tiku.core.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

    from tiku.layers.quantized_linear import Codes
    from tiku.methods.quantize._grid import Grid

__all__ = ["Solution", "hessian_error", "solve"]

_BLOCK = 128
_MOST_DAMPING = 100.0


@dataclass(frozen=True, eq=False)
class Solution:
    """The codes, the damping that was needed, and the inputs that were zero on every token."""

    codes: Codes
    damping: float
    dead: int


def solve(
    weight_OI: Tensor, hessian_II: Tensor, grid: Grid, *, act_order: bool = True, damping: float = 0.01
) -> Solution:
    """Codes on a given grid (static groups) with little error in tr((W - Q) H (W - Q)^T).

    `act_order` rounds the inputs with the largest activations first. `damping`, a share of the mean
    diagonal, is multiplied by ten until H has a Cholesky factor. Inputs that never fired are rounded to
    nearest: nothing is known about them. Raises `ModelError` when H is not finite.
    """
    import torch

    diagonal = hessian_II.diagonal()
    dead = diagonal <= 0
    mean = diagonal[~dead].mean() if not dead.all() else torch.tensor(1.0)
    order = torch.argsort(diagonal, descending=True, stable=True) if act_order else torch.arange(len(dead))
    padded = hessian_II + torch.diag(torch.where(dead, mean, 0.0))
    factor, used = _inverse_factor(padded[order][:, order], float(mean), damping)
    codes_IO = _round_in_order(weight_OI, grid, order, factor)
    codes_OI = torch.empty_like(weight_OI)
    codes_OI[:, order] = codes_IO.T
    return Solution(grid.coded(codes_OI), used, int(dead.sum()))


def hessian_error(away_OI: Tensor, hessian_II: Tensor) -> float:
    """tr(A H A^T): the squared error of the layer's output, summed over outputs, twice its mean over
    tokens."""
    return float(((away_OI @ hessian_II) * away_OI).sum())


def _round_in_order(weight_OI: Tensor, grid: Grid, order: Tensor, factor_II: Tensor) -> Tensor:
    """Codes (I, O), inputs in the given order; `factor_II` is U with H^-1 = U^T U, upper."""
    import torch

    left_IO = weight_OI.T[order]
    spread = torch.div(order, grid.group, rounding_mode="floor")
    scale_IO, zero_IO = grid.scale_OG.T[spread], grid.zero_OG.T[spread]
    codes_IO = torch.empty_like(left_IO)
    inputs = len(order)
    for start in range(0, inputs, _BLOCK):
        end = min(start + _BLOCK, inputs)
        errors = torch.empty_like(left_IO[start:end])
        for i in range(start, end):
            scale, zero, now = scale_IO[i], zero_IO[i], left_IO[i]
            code = (now / scale).round_().add_(zero).clamp_(0, grid.kind.top)
            codes_IO[i] = code
            error = code.sub(zero).mul_(scale).sub_(now).div_(factor_II[i, i])
            left_IO[i + 1 : end].addr_(factor_II[i, i + 1 : end], error)
            errors[i - start] = error
        left_IO[end:].addmm_(factor_II[start:end, end:].T, errors)
    return codes_IO


def _inverse_factor(hessian_II: Tensor, mean: float, damping: float) -> tuple[Tensor, float]:
    """U with H^-1 = U^T U, upper triangular, and the damping used.

    With the order reversed H = R R^T has an upper factor R, and U = R^-1: one factorisation and one
    triangular inverse instead of two factorisations and an inverse.
    """
    import torch

    identity = torch.eye(len(hessian_II))
    while damping <= _MOST_DAMPING:
        reverse, failed = torch.linalg.cholesky_ex((hessian_II + damping * mean * identity).flip(0, 1))
        if not failed and reverse.isfinite().all():
            upper = torch.linalg.solve_triangular(reverse.flip(0, 1), identity, upper=True)
            if upper.isfinite().all():
                return upper.contiguous(), damping
        damping *= 10
    raise ModelError(
        "the second moments of the calibration inputs cannot be factored",
        got=f"damping up to {_MOST_DAMPING:g} of the mean diagonal {mean:g}",
        allowed="finite activations",
        next_step="use other calibration texts, or a method without calibration (int4-weight-only, hqq)",
    )
