"""Four ways to store a matrix that is mostly zero. A number is zero when all its bits are: -0.0 is kept.

Shape letters: R rows, C columns, N numbers in all, K kept numbers. Numbers are unsigned words here.

======== ============================================== ==========================================
layout   what is stored                                 smaller than dense, for words of w bytes
======== ============================================== ==========================================
bitmask  one bit per number, the kept numbers           density below 1 - 1 / (8 w)
csr      row starts, a column of each kept number       density below about w / (w + 2), or w / (w + 4)
block    one bit per 4 x 4 block, the kept blocks       share of blocks below 1 - 1 / (128 w)
two-four two of each four in a row, their places        always, where the pattern holds: 1/2 + 1 / (8 w)
======== ============================================== ==========================================

At exactly two of four a bitmask takes as many bytes; the pattern is there for the kernels that want it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Parts = Mapping[str, NDArray[Any]]

__all__ = ["LAYOUTS", "SIDE", "fits", "pack", "unpack"]

LAYOUTS = ("bitmask", "csr", "block", "two-four")
SIDE = 4  # of a block
_SHORT = 1 << 16  # columns that an index of 16 bits can name


def fits(words_RC: NDArray[Any], layout: str) -> bool:
    """Whether the layout can hold the matrix: only two-four asks for a pattern."""
    if layout != "two-four":
        return True
    groups = _fours(words_RC)
    return groups is not None and bool(((groups != 0).sum(1) <= 2).all())


def pack(words_RC: NDArray[Any], layout: str) -> Parts:
    """The arrays that stand for the matrix; `values` holds words."""
    packers = {"bitmask": _bitmask, "csr": _csr, "block": _block, "two-four": _two_four}
    return packers[layout](words_RC)


def unpack(parts: Parts, layout: str, rows: int, columns: int) -> NDArray[Any]:
    """words_RC. Raises `ValueError` or `IndexError` for parts that do not fit together."""
    unpackers = {"bitmask": _unbitmask, "csr": _uncsr, "block": _unblock, "two-four": _untwo_four}
    words_RC = unpackers[layout](parts, rows, columns)
    return words_RC


def _bitmask(words_RC: NDArray[Any]) -> Parts:
    import numpy as np

    kept = words_RC.reshape(-1) != 0
    return {"mask": np.packbits(kept, bitorder="little"), "values": words_RC.reshape(-1)[kept]}


def _unbitmask(parts: Parts, rows: int, columns: int) -> NDArray[Any]:
    import numpy as np

    kept = np.unpackbits(parts["mask"], count=rows * columns, bitorder="little").view(bool)
    words_N = np.zeros(rows * columns, parts["values"].dtype)
    words_N[kept] = parts["values"]
    return words_N.reshape(rows, columns)


def _csr(words_RC: NDArray[Any]) -> Parts:
    import numpy as np

    kept_RC = words_RC != 0
    starts = np.concatenate([[0], np.cumsum(kept_RC.sum(1))]).astype(np.uint32)
    index = np.uint16 if words_RC.shape[1] <= _SHORT else np.uint32
    return {"starts": starts, "columns": np.nonzero(kept_RC)[1].astype(index), "values": words_RC[kept_RC]}


def _uncsr(parts: Parts, rows: int, columns: int) -> NDArray[Any]:
    import numpy as np

    counts = np.diff(parts["starts"].astype(np.int64))
    if len(counts) != rows or (counts < 0).any():
        raise ValueError(f"starts of {len(counts)} rows where there are {rows}")
    words_RC = np.zeros((rows, columns), parts["values"].dtype)
    row_K = np.repeat(np.arange(rows), counts.astype(np.intp))
    words_RC[row_K, parts["columns"].astype(np.int64)] = parts["values"]
    return words_RC


def _block(words_RC: NDArray[Any]) -> Parts:
    import numpy as np

    rows, columns = words_RC.shape
    padded = np.pad(words_RC, ((0, -rows % SIDE), (0, -columns % SIDE)))
    high, wide = padded.shape[0] // SIDE, padded.shape[1] // SIDE
    blocks = padded.reshape(high, SIDE, wide, SIDE).swapaxes(1, 2).reshape(high * wide, SIDE * SIDE)
    kept = (blocks != 0).any(1)
    return {"mask": np.packbits(kept, bitorder="little"), "values": blocks[kept].reshape(-1)}


def _unblock(parts: Parts, rows: int, columns: int) -> NDArray[Any]:
    import numpy as np

    high, wide = -(-rows // SIDE), -(-columns // SIDE)
    kept = np.unpackbits(parts["mask"], count=high * wide, bitorder="little").view(bool)
    blocks = np.zeros((high * wide, SIDE * SIDE), parts["values"].dtype)
    blocks[kept] = parts["values"].reshape(-1, SIDE * SIDE)
    padded = blocks.reshape(high, wide, SIDE, SIDE).swapaxes(1, 2).reshape(high * SIDE, wide * SIDE)
    return np.ascontiguousarray(padded[:rows, :columns])


def _fours(words_RC: NDArray[Any]) -> NDArray[Any] | None:
    return words_RC.reshape(-1, 4) if words_RC.shape[1] % 4 == 0 else None


def _two_four(words_RC: NDArray[Any]) -> Parts:
    """Places are two bits each; a group of fewer than two kept numbers also stores zeros."""
    import numpy as np

    groups = words_RC.reshape(-1, 4)
    places = np.sort(np.argsort(groups == 0, axis=1, kind="stable")[:, :2], axis=1)
    values = np.take_along_axis(groups, places, axis=1)
    nibbles = (places[:, 0] | places[:, 1] << 2).astype(np.uint8)
    nibbles = np.pad(nibbles, (0, len(nibbles) % 2))
    return {"places": nibbles[0::2] | nibbles[1::2] << 4, "values": values.reshape(-1)}


def _untwo_four(parts: Parts, rows: int, columns: int) -> NDArray[Any]:
    import numpy as np

    count = rows * columns // 4
    nibbles = np.stack([parts["places"] & 15, parts["places"] >> 4], axis=1).reshape(-1)[:count]
    places = np.stack([nibbles & 3, nibbles >> 2], axis=1).astype(np.int64)
    groups = np.zeros((count, 4), parts["values"].dtype)
    np.put_along_axis(groups, places, parts["values"].reshape(-1, 2), axis=1)
    return groups.reshape(rows, columns)
