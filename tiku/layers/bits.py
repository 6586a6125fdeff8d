"""Codes of 2 to 8 bits packed without gaps into 32-bit words: little-endian along the last axis.

The layout is that of compressed-tensors ("pack-quantized") and of transformers models stored with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["WIDTHS", "pack", "packed_length", "unpack"]

WIDTHS = (2, 3, 4, 8)
_WORD = 32


def packed_length(count: int, bits: int) -> int:
    """Words that `count` codes of `bits` bits take, the last one filled up with zeros."""
    return (count * bits + _WORD - 1) // _WORD


def pack(codes: Tensor, bits: int) -> Tensor:
    """Codes (…, n), below 2**bits, to int32 (…, packed_length(n, bits)); code i begins at bit i * bits."""
    import torch

    if bits == 8:  # the same as below, many times as fast
        words = packed_length(codes.shape[-1], bits)
        octets = torch.nn.functional.pad(codes.to(torch.uint8), (0, 4 * words - codes.shape[-1]))
        return octets.reshape(-1).view(torch.int32).reshape(*codes.shape[:-1], words)
    places = torch.arange(bits, dtype=torch.uint8)
    stream = (codes.to(torch.uint8).unsqueeze(-1) >> places & 1).flatten(-2)
    spare = packed_length(codes.shape[-1], bits) * _WORD - stream.shape[-1]
    stream = torch.nn.functional.pad(stream, (0, spare))
    weights = (1 << torch.arange(8, dtype=torch.int32)).to(torch.uint8)
    octets = (stream.reshape(*codes.shape[:-1], -1, 8) * weights).sum(-1, dtype=torch.uint8)
    return octets.contiguous().view(torch.int32)


def unpack(words: Tensor, bits: int, count: int) -> Tensor:
    """The inverse of `pack`: uint8 codes (…, count)."""
    import torch

    octets = words.contiguous().view(torch.uint8)
    if bits == 8:
        return octets[..., :count]
    if bits == 4:  # the same as below, twenty times as fast
        return torch.stack([octets & 15, octets >> 4], dim=-1).flatten(-2)[..., :count]
    places = torch.arange(8, dtype=torch.uint8)
    stream = (octets.unsqueeze(-1) >> places & 1).flatten(-2)[..., : count * bits]
    weights = (1 << torch.arange(bits, dtype=torch.int32)).to(torch.uint8)
    codes: Tensor = (stream.reshape(*words.shape[:-1], count, bits) * weights).sum(-1, dtype=torch.uint8)
    return codes
