"""Few-bit layers in GGUF's blocks of 32 weights: the layer's own codes, scales in 16 bits.

Shape letters: O outputs, I inputs, K = I/32 blocks. Q8_0 is `d * q` with q a signed byte; Q4_0 `d * (q - 8)`;
Q4_1 `d * q + m`. Scales (and offsets m) are rounded from float32 to float16, the codes are kept exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tiku.core.errors import ModelError
from tiku.core.verdict import Support

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["as_blocks", "storable"]

_BLOCK = 32
_ROUNDED = 2.0**-10  # of the layer's largest scale or offset: twice what rounding to float16 costs


def storable(layers: dict[str, Any]) -> Support:
    """Whether the blocks hold the codes of these `QuantizedLinear` layers."""
    for name, layer in layers.items():
        group, row = min(layer.group, layer.in_features), layer.in_features
        if row % _BLOCK or group % _BLOCK:
            return Support.no(
                f"{_BLOCK} weights in a GGUF block share a scale, and {name} has groups of {group} of {row}",
                f"GGUF 每块 {_BLOCK} 个权重共用一个缩放系数；{name} 每行 {row} 个权重，每组 {group} 个",
            )
        if layer.bits == 8 and layer.weight_zero_point is not None:
            return Support.no(
                f"GGUF's 8-bit blocks have no zero point, and {name} has; quantise it symmetrically",
                f"GGUF 的 8 位块没有零点，而 {name} 有；请用对称量化",
            )
    return Support.yes()


def as_blocks(name: str, layer: Any) -> tuple[str, NDArray[np.uint8]]:
    """(GGUF's name of the format, bytes (O, …)). Raises `ModelError` for scales that float16 cannot hold."""
    import numpy as np

    codes = layer.codes()
    count = layer.in_features // _BLOCK
    of_block_K = np.arange(count) * _BLOCK // layer.group
    stored_OKB = codes.codes_OI.numpy().reshape(layer.out_features, count, _BLOCK)
    scale_OK = codes.scale_OG.numpy()[:, of_block_K]
    scale = _halved(name, scale_OK)
    if layer.bits == 8:
        return "Q8_0", _joined(scale, stored_OKB ^ 128)  # minus 128, as a signed byte
    if codes.zero_OG is None:
        return "Q4_0", _joined(scale, _nibbles(stored_OKB + (8 - (1 << layer.bits - 1))))
    zero_OK = codes.zero_OG.numpy()[:, of_block_K].astype(np.float32)
    return "Q4_1", _joined(scale, _halved(name, -zero_OK * scale_OK), _nibbles(stored_OKB))


def _nibbles(codes_OKB: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two codes in a byte: the first half of the block in the low bits, the second in the high ones."""
    half = _BLOCK // 2
    high: NDArray[np.uint8] = codes_OKB[..., half:] * 16
    return codes_OKB[..., :half] | high


def _joined(*parts: NDArray[Any]) -> NDArray[np.uint8]:
    """Block after block, each its parts in turn."""
    import numpy as np

    blocks = np.concatenate([np.ascontiguousarray(part).view(np.uint8) for part in parts], axis=-1)
    return blocks.reshape(len(blocks), -1)


def _halved(name: str, wanted_OK: NDArray[np.float32]) -> NDArray[np.float16]:
    """float16 (O, K, 1). Raises `ModelError`."""
    import numpy as np

    with np.errstate(over="ignore"):
        stored = wanted_OK.astype(np.float16)
    away = float(np.abs(stored.astype(np.float32) - wanted_OK).max())
    largest = float(np.abs(wanted_OK).max())
    if not away <= _ROUNDED * largest:
        raise ModelError(
            "GGUF stores the scales of weights in float16, which cannot hold these",
            got=f"{name}: scales up to {largest:.3g} would move by {away:.3g}",
            allowed="scales between 6.1e-05 and 65504",
            next_step="choose another runtime, such as onnxruntime",
        )
    return stored[..., None]
