"""What a safetensors file holds once it is read, however it is stored."""

from __future__ import annotations

from pathlib import Path

from tiku.weightfiles import lossless, sparse
from tiku.weightfiles._header import read_header
from tiku.weightfiles._sealed import is_sealed

__all__ = ["stored_tensors"]


def stored_tensors(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of each tensor, from the header alone. Raises `ModelError`."""
    header = read_header(path)
    if is_sealed(lossless.TABLE, header):
        return lossless.LosslessFile(path).shapes()
    if is_sealed(sparse.TABLE, header):
        return sparse.shapes(path)
    return {name: (entry.dtype, entry.shape) for name, entry in header.entries.items()}
