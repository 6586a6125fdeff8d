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

__all__ = ["choose_bits"]


def choose_bits(
    errors_LC: NDArray[np.float64], weights_L: NDArray[np.int64], bits_C: Sequence[int], mean_bits: float
) -> list[int]:
    """For each layer the position of its choice: the least sum of errors with at most `mean_bits` per
    weight over all layers, exact (branch and bound, HiGHS). Raises `RecipeError` when the fewest bits are
    already too many."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    layers, choices = errors_LC.shape
    if mean_bits < min(bits_C):
        raise RecipeError(
            "the mean of the bits lies below the fewest bits allowed",
            got=mean_bits,
            allowed=f"{min(bits_C)} … {max(bits_C)}",
            next_step="raise mean_bits, or lower least_bits",
        )
    one_each = np.kron(np.eye(layers), np.ones(choices))
    share = np.kron(weights_L / weights_L.sum(), np.asarray(bits_C, dtype=np.float64))
    solved = milp(
        errors_LC.reshape(-1) / max(float(errors_LC.max()), 1e-300),
        constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(share, -np.inf, mean_bits)],
        integrality=np.ones(layers * choices),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 1e-6, "time_limit": 60},
    )
    return [int(i) for i in solved.x.reshape(layers, choices).argmax(axis=1)]
