"""Safetensors files whose masked weights are stored without their zeros, each tensor in its best layout.

The parts of a tensor stand under its name and a suffix; the text field `tiku.sparse` lists type, shape,
layout and a CRC-32 over the parts. What no layout makes smaller stays dense.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiku.weightfiles._header import ITEM_BYTES, Header, as_tensor, damaged, read_header, written
from tiku.weightfiles._layouts import LAYOUTS, SIDE, fits, pack, unpack
from tiku.weightfiles._sealed import sealed, unsealed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = [
    "LAYOUTS", "SUFFIX", "TABLE", "break_even", "read_sparse", "shapes", "smallest", "sparsify_file",
]  # fmt: skip

SUFFIX = ".sparse.safetensors"
DENSE = "dense"

TABLE = "tiku.sparse"
_WORDS = {"mask": "U8", "places": "U8", "starts": "U32"}


def sparsify_file(source: Path, target: Path, layouts: Iterable[str] = LAYOUTS) -> dict[str, str]:
    """Write `target` from the plain safetensors file `source`; the layout of each tensor.

    Raises `ModelError` for a damaged source.
    """
    header, allowed = read_header(source), tuple(layouts)
    table: dict[str, Any] = {}
    parts: dict[str, tuple[str, NDArray[Any]]] = {}
    for name, entry in header.entries.items():
        words = _read(source, entry.start, entry.bytes).view(f"<u{_width(entry.dtype)}")
        matrix = words.reshape(_matrix(entry.shape))
        layout = smallest(matrix, allowed)
        made = {"values": matrix.reshape(-1)} if layout == DENSE else pack(matrix, layout)
        table[name] = [entry.dtype, list(entry.shape), layout, sorted(made), _check(made)]
        parts |= {f"{name}:{part}": (entry.dtype, array) for part, array in made.items()}
    described = {name: (_kind(name, dtype, a), (a.size,)) for name, (dtype, a) in parts.items()}
    with written(
        target, described, sealed(TABLE, {"tensors": table, "metadata": dict(header.metadata)})
    ) as out:
        for _, array in parts.values():
            out.write(array.tobytes())
    return {name: str(row[2]) for name, row in table.items()}


def read_sparse(path: Path) -> dict[str, Tensor]:
    """All tensors, bit for bit. Raises `ModelError` for anything but what was written."""
    header = read_header(path)
    found = {}
    for name, (dtype, shape, layout, names, check) in unsealed(TABLE, path, header)["tensors"].items():
        parts = {part: _part(path, header, f"{name}:{part}", dtype) for part in names}
        if _check(parts) != check:
            raise damaged(path, f"{name} does not have the checksum it was written with")
        rows, columns = _matrix(tuple(shape))
        words = parts["values"] if layout == DENSE else unpack(parts, layout, rows, columns).reshape(-1)
        found[name] = as_tensor(words.view("u1"), dtype, tuple(shape))
    return found


def shapes(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of each tensor, from the header alone. Raises `ModelError`."""
    table = unsealed(TABLE, path, read_header(path))["tensors"]
    return {name: (row[0], tuple(row[1])) for name, row in table.items()}


def smallest(words_RC: NDArray[Any], layouts: Iterable[str] = LAYOUTS) -> str:
    """The layout of the fewest bytes, "dense" where none saves any."""
    sizes = {DENSE: words_RC.nbytes}
    if words_RC.size and (words_RC == 0).any():
        sizes |= {layout: _bytes(pack(words_RC, layout)) for layout in layouts if fits(words_RC, layout)}
    return min(sizes, key=lambda layout: sizes[layout])


def break_even(layout: str, rows: int, columns: int, dtype: str) -> float:
    """The density up to which the layout is smaller than dense storage, by packing matrices and counting.

    Of kept numbers, for "block" of kept blocks; two-four holds at most half of the numbers, so that is its
    answer wherever it is smaller at all, else 0.
    """
    import numpy as np

    units = math.ceil(rows / SIDE) * math.ceil(columns / SIDE) if layout == "block" else rows * columns
    dense = rows * columns * ITEM_BYTES[dtype]
    order = np.random.default_rng(0).permutation(units)
    most = units // 2 if layout == "two-four" else units

    def smaller(kept: int) -> bool:
        return _bytes(pack(_made(layout, rows, columns, dtype, order[:kept]), layout)) < dense

    low, high = 0, most + 1  # smaller(low) holds unless nothing is, smaller(high) is taken not to
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if smaller(middle) else (low, middle)
    return low / units


def _made(layout: str, rows: int, columns: int, dtype: str, kept: NDArray[Any]) -> NDArray[Any]:
    """A matrix whose kept units are one: numbers, blocks, or for two-four the first two of each four."""
    import numpy as np

    if layout == "block":
        mask = np.zeros(math.ceil(rows / SIDE) * math.ceil(columns / SIDE), bool)
        mask[kept] = True
        mask = mask.reshape(math.ceil(rows / SIDE), -1).repeat(SIDE, 0).repeat(SIDE, 1)[:rows, :columns]
    else:
        mask = np.zeros(rows * columns, bool)
        mask[np.arange(len(kept)) // 2 * 4 + np.arange(len(kept)) % 2 if layout == "two-four" else kept] = (
            True
        )
    return mask.reshape(rows, columns).astype(f"<u{_width(dtype)}")


def _width(dtype: str) -> int:
    return ITEM_BYTES[dtype]


def _matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    """(rows, columns): the first axis of a tensor of several, one row for all others."""
    count = math.prod(shape)
    rows = shape[0] if len(shape) > 1 and count else 1
    return rows, count // rows


def _bytes(parts: Mapping[str, NDArray[Any]]) -> int:
    return sum(array.nbytes for array in parts.values())


def _check(parts: Mapping[str, NDArray[Any]]) -> int:
    check = 0
    for name in sorted(parts):
        check = zlib.crc32(parts[name].tobytes(), check)
    return check


def _kind(name: str, dtype: str, array: NDArray[Any]) -> str:
    part = name.rpartition(":")[2]
    if part == "values":
        return dtype
    return f"U{8 * array.itemsize}" if part == "columns" else _WORDS[part]


def _part(path: Path, header: Header, name: str, dtype: str) -> NDArray[Any]:
    entry = header.entries.get(name)
    if entry is None:
        raise damaged(path, f"it lacks {name}")
    octets = _read(path, entry.start, entry.bytes)
    return octets.view(f"<u{_width(dtype) if name.endswith(':values') else ITEM_BYTES[entry.dtype]}")


def _read(path: Path, start: int, count: int) -> NDArray[np.uint8]:
    import numpy as np

    return np.fromfile(path, np.uint8, count, offset=start)
