"""A linear layer that stores its weights in few bits and widens them as it multiplies.

Shape letters: O outputs, I inputs, G groups along the inputs, B… leading axes of the activations.
A weight is `(code - zero) * scale` with one scale (and zero) per output and group of inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tiku.layers.bits import WIDTHS, pack, packed_length, unpack
from tiku.layers.int8_product import int8_product, multiplies

__all__ = ["Codes", "QuantizedLinear"]


@dataclass(frozen=True, eq=False)
class Codes:
    """Quantised weights: `codes_OI` uint8 below 2**bits, `scale_OG` float32, `zero_OG` uint8.

    `zero_OG` None means 2**(bits - 1) everywhere: symmetric. `group` inputs share a scale; the last
    group may be shorter.
    """

    bits: int
    group: int
    codes_OI: Tensor
    scale_OG: Tensor
    zero_OG: Tensor | None = None

    def __post_init__(self) -> None:
        outputs, inputs = self.codes_OI.shape
        groups = -(-inputs // self.group)
        if self.bits not in WIDTHS or self.scale_OG.shape != (outputs, groups):
            raise ValueError(
                f"{self.bits} bits in {tuple(self.codes_OI.shape)}, scales {tuple(self.scale_OG.shape)}"
            )

    def weight(self) -> Tensor:
        """float32 (O, I)."""
        zero = 1 << (self.bits - 1) if self.zero_OG is None else self._spread(self.zero_OG.float())
        return self.codes_OI.float().sub_(zero).mul_(self._spread(self.scale_OG))

    def rows(self, start: int | None, end: int | None, step: int = 1) -> Codes:
        """The codes of some outputs."""
        at = slice(start, end, step)
        zero = None if self.zero_OG is None else self.zero_OG[at]
        return Codes(self.bits, self.group, self.codes_OI[at], self.scale_OG[at], zero)

    def _spread(self, per_group: Tensor) -> Tensor:
        if per_group.shape[1] == 1:
            return per_group
        return per_group.repeat_interleave(self.group, dim=1)[:, : self.codes_OI.shape[1]]


class QuantizedLinear(nn.Module):
    """Stands where a `Linear` stood; its buffers are those of compressed-tensors ("pack-quantized"), so
    that a transformers model which holds such layers is saved in that format as it is.

    The weights are widened at every call: torch's kernels that multiply from codes are scalar loops for
    float32 activations (docs/log.md). bfloat16 activations are multiplied from symmetric 8-bit codes of one
    scale per output. Made empty; `of` fills it.
    """

    weight_packed: Tensor
    weight_scale: Tensor
    weight_shape: Tensor
    weight_zero_point: Tensor | None
    bias: Tensor | None

    def __init__(
        self, in_features: int, out_features: int, *, bits: int, group: int, symmetric: bool, bias: bool
    ) -> None:
        super().__init__()
        self.in_features, self.out_features, self.bits, self.group = in_features, out_features, bits, group
        groups = -(-in_features // group)
        words = torch.zeros(out_features, packed_length(in_features, bits), dtype=torch.int32)
        zeros = torch.zeros(packed_length(out_features, bits), groups, dtype=torch.int32)
        self.register_buffer("weight_packed", words)
        self.register_buffer("weight_scale", torch.zeros(out_features, groups, dtype=torch.float32))
        self.register_buffer("weight_shape", torch.tensor([out_features, in_features]))
        self.register_buffer("weight_zero_point", None if symmetric else zeros)
        # float32 whatever torch's default is: a model that computes in bfloat16 is loaded under another one
        biases = torch.zeros(out_features, dtype=torch.float32) if bias else None
        self.register_buffer("bias", biases)

    @classmethod
    def of(cls, codes: Codes, bias: Tensor | None = None) -> QuantizedLinear:
        """The layer that holds these codes."""
        outputs, inputs = codes.codes_OI.shape
        symmetric = codes.zero_OG is None
        layer = cls(
            inputs, outputs, bits=codes.bits, group=codes.group, symmetric=symmetric, bias=bias is not None
        )
        layer.weight_packed = pack(codes.codes_OI, codes.bits)
        layer.weight_scale = codes.scale_OG.detach().float().clone()
        if codes.zero_OG is not None:
            layer.weight_zero_point = pack(codes.zero_OG.T, codes.bits).T.contiguous()
        if bias is not None:
            layer.bias = bias.detach().float().clone()
        return layer

    def codes(self) -> Codes:
        """What is stored, unpacked."""
        zero = self.weight_zero_point
        zero_OG = None if zero is None else unpack(zero.T, self.bits, self.out_features).T
        stored = unpack(self.weight_packed, self.bits, self.in_features)
        return Codes(self.bits, self.group, stored, self.weight_scale, zero_OG)

    @property
    def weight(self) -> Tensor:
        """float32 (O, I), widened anew: for architectures that look at the weight of a linear layer."""
        return self.codes().weight()

    def dequantised(self) -> nn.Linear:
        """The float32 layer that computes the same."""
        layer = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None)
        layer.weight.data.copy_(self.codes().weight())
        if self.bias is not None:
            layer.bias.data.copy_(self.bias)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """(B…, I) to (B…, O), in the dtype of `x`."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        if self.per_channel and multiplies(x, self.in_features, self.out_features):
            rows = x.reshape(-1, self.in_features)
            made = int8_product(rows, self.weight_packed, self.weight_scale.flatten())
            made = made.view(*x.shape[:-1], self.out_features)
            return made if bias is None else made + bias
        return nn.functional.linear(x, self.weight.to(x.dtype), bias)

    @property
    def per_channel(self) -> bool:
        """Whether these are symmetric 8-bit codes of one scale per output, which bfloat16 multiplies as they
        are."""
        return self.bits == 8 and self.weight_zero_point is None and self.group >= self.in_features

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bits={self.bits}, group={self.group}"

    def __deepcopy__(self, memo: dict[int, Any]) -> QuantizedLinear:
        return QuantizedLinear.of(self.codes(), self.bias)
