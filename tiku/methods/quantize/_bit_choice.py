"""Which layer gets how many bits: an integer programme.

Shape letters: L layers, C choices of bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tiku.core.errors import RecipeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["choose", "choose_bits"]

_ROUNDING = 1e-9  # a limit that is met with equality is met


def choose_bits(
    errors_LC: NDArray[np.float64], weights_L: NDArray[np.int64], bits_C: Sequence[int], mean_bits: float
) -> list[int]:
    """For each layer the position of its choice: the least sum of errors with at most `mean_bits` per
    weight over all layers. Raises `RecipeError` when the fewest bits are already too many."""
    if mean_bits < min(bits_C):
        raise RecipeError(
            "the mean of the bits lies below the fewest bits allowed",
            got=mean_bits,
            allowed=f"{min(bits_C)} … {max(bits_C)}",
            next_step="raise mean_bits, or lower least_bits",
        )
    return choose(errors_LC, np.outer(weights_L / weights_L.sum(), bits_C), mean_bits)


def choose(
    values_LC: NDArray[np.float64], costs_LC: NDArray[np.float64], most: float, what: str = "cost"
) -> list[int]:
    """For each layer the position of its choice: the least sum of values whose costs sum to `most` at
    most, exact (branch and bound, HiGHS). Raises `RecipeError` where no choice costs so little."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    layers, choices = values_LC.shape
    least = float(costs_LC.min(axis=1).sum())
    if least > most * (1 + _ROUNDING):
        raise RecipeError(
            "no choice of bits meets the target",
            got=f"{what} of {most:.4g} at most",
            allowed=f"{what} of {least:.4g} or more, the least there is",
            next_step="raise the limit, or allow other numbers of bits with least_bits",
        )
    scale = max(most, least, 1e-300)
    solved = milp(
        values_LC.reshape(-1) / max(float(np.abs(values_LC).max()), 1e-300),
        constraints=[
            LinearConstraint(np.kron(np.eye(layers), np.ones(choices)), 1, 1),
            LinearConstraint(costs_LC.reshape(-1) / scale, -np.inf, most / scale * (1 + _ROUNDING)),
        ],
        integrality=np.ones(layers * choices),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 1e-6, "time_limit": 60},
    )
    if solved.x is None:
        raise RecipeError(
            "the solver found no choice of bits in a minute",
            got=solved.message,
            allowed="a target with a choice that is found",
            next_step="move the limit a little",
        )
    return [int(i) for i in solved.x.reshape(layers, choices).argmax(axis=1)]
