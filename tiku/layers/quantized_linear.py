"""A linear layer that stores its weights in few bits and, where torch has a kernel, multiplies from them.

Shape letters: O outputs, I inputs, G groups along the inputs, B… leading axes of the activations.
A weight is `(code - zero) * scale` with one scale (and zero) per output and group of inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tiku.layers.bits import WIDTHS, pack, packed_length, unpack

__all__ = ["Codes", "QuantizedLinear"]

_INT4_GROUPS = (32, 64, 128, 256)  # of torch's kernel
_INT4_OUTPUTS = 16  # it works on whole blocks of outputs


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
        return (self.codes_OI.float() - zero) * self._spread(self.scale_OG)

    def rows(self, start: int | None, end: int | None, step: int = 1) -> Codes:
        """The codes of some outputs."""
        at = slice(start, end, step)
        zero = None if self.zero_OG is None else self.zero_OG[at]
        return Codes(self.bits, self.group, self.codes_OI[at], self.scale_OG[at], zero)

    def _spread(self, per_group: Tensor) -> Tensor:
        return per_group.repeat_interleave(self.group, dim=1)[:, : self.codes_OI.shape[1]]


class QuantizedLinear(nn.Module):
    """Stands where a `Linear` stood; its buffers are those of compressed-tensors ("pack-quantized"), so
    that a transformers model which holds such layers is saved in that format as it is.

    bfloat16 activations are multiplied from the codes where torch has a kernel (`kernel`: "int4", "int8");
    float32 ones by weights that are widened at every call, which is exact: torch's kernels for float32
    are scalar loops (int4, 1536 x 384, AVX-512: 1.0 ms for one row and 66 for 64, in bfloat16 0.04 and
    0.9, widening and float32 0.4 and 1.2). Made empty;
    `of` fills it.
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
        self.register_buffer("weight_scale", torch.zeros(out_features, groups))
        self.register_buffer("weight_shape", torch.tensor([out_features, in_features]))
        self.register_buffer("weight_zero_point", None if symmetric else zeros)
        self.register_buffer("bias", torch.zeros(out_features) if bias else None)
        self._prepared: tuple[Tensor, Tensor] | None = None

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

    @property
    def kernel(self) -> str:
        """How `forward` multiplies bfloat16 activations on this device."""
        if self.weight_packed.device.type != "cpu":
            return "dequantise"
        whole = self.in_features % self.group == 0
        if self.bits == 4 and whole and self.group in _INT4_GROUPS and self.out_features % _INT4_OUTPUTS == 0:
            return "int4"
        per_channel = self.group >= self.in_features and self.weight_zero_point is None
        return "int8" if self.bits == 8 and per_channel else "dequantise"

    def forward(self, x: Tensor) -> Tensor:
        """(B…, I) to (B…, O), in the dtype of `x`."""
        flat = x.reshape(-1, self.in_features).contiguous()  # torch's kernels take no strides
        match self.kernel if x.dtype == torch.bfloat16 else "dequantise":
            case "int4":
                y = torch.ops.aten._weight_int4pack_mm_for_cpu(flat, *self._int4()).float()
            case "int8":
                y = torch.ops.aten._weight_int8pack_mm(flat, *self._int8()).float()
            case _:
                y = flat.float() @ self.codes().weight().T
        y = y if self.bias is None else y + self.bias
        shaped: Tensor = y.to(x.dtype).reshape(*x.shape[:-1], self.out_features)
        return shaped

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bits={self.bits}, group={self.group}"

    def _int4(self) -> tuple[Tensor, int, Tensor]:
        """torch's own order of the codes, group size, and (G, O, 2) scales and offsets: its weight is
        (code - 8) * scale + offset."""
        if self._prepared is None:
            codes = self.codes()
            scale, zero = codes.scale_OG, codes.zero_OG
            packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes.codes_OI.int(), 1)
            offset = torch.zeros_like(scale) if zero is None else (8.0 - zero.float()) * scale
            pair = torch.stack([scale, offset], dim=-1).transpose(0, 1).bfloat16().contiguous()
            self._prepared = packed, pair
        packed, pair = self._prepared
        return packed, self.group, pair

    def _int8(self) -> tuple[Tensor, Tensor]:
        if self._prepared is None:
            signed = (self.codes().codes_OI.to(torch.int16) - 128).to(torch.int8)
            self._prepared = signed, self.weight_scale[:, 0].bfloat16().contiguous()
        return self._prepared

    def __deepcopy__(self, memo: dict[int, Any]) -> QuantizedLinear:
        return QuantizedLinear.of(self.codes(), self.bias)
