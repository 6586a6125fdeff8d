"""bfloat16 activations times 8-bit codes with one scale per output, without widening the weight as a whole.

A few of the weight's rows at a time become signed numbers in a scratch that the processor's cache holds.
For few rows of activations torch's kernel multiplies from there; for many its four rows at a time are slower
than widening the scratch and multiplying in bfloat16.

Shape letters: R rows of activations, O outputs, I inputs, J words of four codes (I / 4).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

__all__ = ["int8_product", "multiplies"]

_CHUNK = 1 << 21  # bytes of codes at a time
_FEW = 16  # rows of activations, from which on both ways take the same time (AVX-512)
_FLIP = -0x7F7F7F80  # the highest bit of each of four codes: code ^ 128 is code - 128 as int8
_INPUTS, _OUTPUTS = 16, 4  # the kernel loads so many numbers at once, whether they are there or not
_ALIGNED = 64  # bytes; the kernel's loads are aligned ones


def multiplies(x: Tensor, inputs: int, outputs: int) -> bool:
    """Whether these activations can be multiplied so by a weight of that shape."""
    return (
        x.dtype == torch.bfloat16
        and x.device.type == "cpu"
        and inputs % _INPUTS == 0
        and outputs % _OUTPUTS == 0
    )


def int8_product(x_RI: Tensor, words_OJ: Tensor, scale_O: Tensor) -> Tensor:
    """bfloat16 (R, O): x times `(code - 128) * scale`, the scale rounded to bfloat16."""
    rows, scale = x_RI.shape[0], scale_O.to(x_RI.dtype)
    from_codes = 0 < rows <= _FEW and not (torch.is_grad_enabled() and x_RI.requires_grad)
    if from_codes:
        x_RI = _aligned(x_RI)
    made = []
    for start, signed_oI in _signed(words_OJ):
        part = scale[start : start + signed_oI.shape[0]]
        if from_codes:
            made.append(torch.ops.aten._weight_int8pack_mm(x_RI, signed_oI, part))
        else:
            made.append(nn.functional.linear(x_RI, signed_oI.to(x_RI.dtype)) * part)
    return torch.cat(made, dim=-1)


def _signed(words_OJ: Tensor) -> Iterator[tuple[int, Tensor]]:
    """(first output, int8 (o, I)): o outputs at a time, each time in the same memory."""
    outputs, words = words_OJ.shape
    step = min(outputs, max(_OUTPUTS, _CHUNK // (4 * words) // _OUTPUTS * _OUTPUTS))
    scratch = torch.empty(step, words, dtype=torch.int32)
    for start in range(0, outputs, step):
        taken = words_OJ[start : start + step]
        yield start, torch.bitwise_xor(taken, _FLIP, out=scratch[: taken.shape[0]]).view(torch.int8)


def _aligned(x: Tensor) -> Tensor:
    x = x.contiguous()
    return x.clone() if x.data_ptr() % _ALIGNED else x
