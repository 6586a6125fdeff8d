"""Whether bfloat16 products are faster here: asked of the processor by a short measurement, not by a flag."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["bf16_speedup", "choose_precision"]

_WORTH_IT = 1.3  # hardware bf16 measured 2.1, emulation below 0.1: nothing lies near, so the choice is stable
_ROUNDS = 9
_SHAPE_MKN = (256, 384, 384)


def choose_precision(wanted: str, device: str) -> str:
    """ "auto" -> "bf16" or "fp32"; anything else stays."""
    if wanted != "auto":
        return wanted
    return "bf16" if bf16_speedup(device) >= _WORTH_IT else "fp32"


@cache
def bf16_speedup(device: str) -> float:
    """Time of a float32 product over that of the same bfloat16 product: the fastest of alternating rounds.

    One round decides where bfloat16 is emulated: that can be 200 times slower.
    """
    import torch

    m, k, n = _SHAPE_MKN
    a, b = torch.ones(m, k, device=device), torch.ones(k, n, device=device)
    a16, b16 = a.bfloat16(), b.bfloat16()
    single, half = [], []
    for _ in range(_ROUNDS):
        single.append(_seconds(a, b))
        half.append(_seconds(a16, b16))
        if half[0] > 4 * single[0] and half[0] > 0.01:
            break
    return min(single) / min(half)


def _seconds(a: torch.Tensor, b: torch.Tensor) -> float:
    import torch

    start = time.perf_counter()
    for _ in range(4):
        torch.mm(a, b)
    if a.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start
