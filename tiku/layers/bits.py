"""Codes of 2 to 8 bits packed without gaps into bytes: little-endian along the last axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["WIDTHS", "pack", "packed_length", "unpack"]

WIDTHS = (2, 3, 4, 8)


def packed_length(count: int, bits: int) -> int:
    """Bytes that `count` codes of `bits` bits take, the last byte filled up."""
    return (count * bits + 7) // 8


def pack(codes: Tensor, bits: int) -> Tensor:
    """Codes (…, n), below 2**bits, to bytes (…, packed_length(n, bits)); code i lies at bit i * bits."""
    import torch

    if bits == 8:
        return codes.to(torch.uint8)
    places = torch.arange(bits, dtype=torch.uint8)
    stream = (codes.to(torch.uint8).unsqueeze(-1) >> places & 1).flatten(-2)
    spare = packed_length(codes.shape[-1], bits) * 8 - stream.shape[-1]
    stream = torch.nn.functional.pad(stream, (0, spare))
    weights = (1 << torch.arange(8, dtype=torch.int32)).to(torch.uint8)
    whole: Tensor = (stream.reshape(*codes.shape[:-1], -1, 8) * weights).sum(-1, dtype=torch.uint8)
    return whole


def unpack(packed: Tensor, bits: int, count: int) -> Tensor:
    """The inverse of `pack`: uint8 codes (…, count)."""
    import torch

    if bits == 8:
        return packed[..., :count]
    places = torch.arange(8, dtype=torch.uint8)
    stream = (packed.unsqueeze(-1) >> places & 1).flatten(-2)[..., : count * bits]
    weights = (1 << torch.arange(bits, dtype=torch.int32)).to(torch.uint8)
    codes: Tensor = (stream.reshape(*packed.shape[:-1], count, bits) * weights).sum(-1, dtype=torch.uint8)
    return codes
