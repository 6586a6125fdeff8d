"""Safetensors files whose float32 tensors are stored in 16 bits; readers widen them while loading."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tiku.core.errors import ModelError
from tiku.weightfiles._header import Entry, as_tensor, read_header, written

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["HALVES", "halve_file"]

HALVES = {"bf16": "BF16", "fp16": "F16"}
_TORCH = {"bf16": "bfloat16", "fp16": "float16"}


def halve_file(source: Path, target: Path, kind: str) -> None:
    """Store each float32 tensor of `source` in 16 bits (`kind`: "bf16" or "fp16"), all others as they are.

    Nothing is rounded here: raises `ModelError` for a tensor that 16 bits cannot hold exactly.
    """
    import numpy as np

    header = read_header(source)
    tensors = {
        name: (HALVES[kind] if entry.dtype == "F32" else entry.dtype, entry.shape)
        for name, entry in header.entries.items()
    }
    with source.open("rb") as file, written(target, tensors, header.metadata) as out:
        for name, entry in header.entries.items():
            file.seek(entry.start)
            octets = np.fromfile(file, np.uint8, entry.bytes)
            if entry.dtype == "F32":
                octets = _exactly(name, entry, as_tensor(octets, "F32", entry.shape), kind).numpy()
            out.write(octets.data)


def _exactly(name: str, entry: Entry, wide: Tensor, kind: str) -> Tensor:
    """The bytes of the tensor in 16 bits."""
    import torch

    narrow = wide.to(getattr(torch, _TORCH[kind]))
    if not torch.equal(narrow.float().nan_to_num(), wide.nan_to_num()):
        raise ModelError(
            f"a tensor does not fit into {kind} without rounding",
            got=f"{name} {entry.shape}",
            allowed=f"numbers on the grid of {kind}",
            next_step="round the weights first, as the method half-weights does",
        )
    return narrow.flatten().view(torch.uint8)
