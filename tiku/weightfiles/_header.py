"""The header of a safetensors file, read without its data and written before it.

Layout: 8 bytes length (little-endian), JSON padded with spaces, then the tensors without gaps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tiku.core.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "ITEM_BYTES",
    "Entry",
    "Header",
    "as_tensor",
    "damaged",
    "dtype_name",
    "read_header",
    "torch_name",
    "written",
]

ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}  # fmt: skip

_TORCH = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "U16": "uint16", "I16": "int16", "F16": "float16", "BF16": "bfloat16", "U32": "uint32", "I32": "int32",
    "F32": "float32", "U64": "uint64", "I64": "int64", "F64": "float64", "C64": "complex64",
}  # fmt: skip

_LARGEST = 100_000_000  # the format's own limit


@dataclass(frozen=True)
class Entry:
    """One tensor: safetensors' name of its type, its shape, and where its bytes lie in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def bytes(self) -> int:
        """Bytes of the tensor."""
        return self.end - self.start


@dataclass(frozen=True)
class Header:
    """Tensors by name in the order of their bytes, and the file's own text fields."""

    entries: Mapping[str, Entry]
    metadata: Mapping[str, str]


def damaged(path: Path, why: object) -> ModelError:
    """The error for a file whose bytes are not what was written."""
    return ModelError(
        "the weight file is damaged",
        got=f"{path.name}: {why}",
        allowed="the file as it was written, every checksum right",
        next_step="copy the file again, or build the artefact again",
    )


def read_header(path: Path) -> Header:
    """The header, checked against the file's size. Raises `ModelError`."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_LARGEST, size - 8):
            raise damaged(path, f"a header of {length} bytes in a file of {size}")
        text = file.read(length)
    try:
        fields = json.loads(text)
        metadata = {str(key): str(value) for key, value in fields.pop("__metadata__", {}).items()}
        entries = {name: _entry(value, 8 + length) for name, value in fields.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path, error) from error
    ordered = dict(sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)))
    _check_gapless(path, ordered.values(), 8 + length, size)
    return Header(ordered, metadata)


def _entry(value: Any, data: int) -> Entry:
    start, end = value["data_offsets"]
    entry = Entry(value["dtype"], tuple(value["shape"]), data + start, data + end)
    if not all(isinstance(n, int) and n >= 0 for n in (*entry.shape, start, end)):
        raise ValueError(f"shape {entry.shape}, offsets {start}, {end}")
    if entry.dtype not in ITEM_BYTES:
        raise ValueError(f"numbers of the type {entry.dtype!r}; known are {', '.join(ITEM_BYTES)}")
    if math.prod(entry.shape) * ITEM_BYTES[entry.dtype] != entry.bytes:
        raise ValueError(f"{entry.dtype} {entry.shape} in {entry.bytes} bytes")
    return entry


def _check_gapless(path: Path, entries: Iterable[Entry], place: int, size: int) -> None:
    for entry in entries:
        if entry.start != place:
            raise damaged(path, f"a tensor begins at byte {entry.start} instead of {place}")
        place = entry.end
    if place != size:
        raise damaged(path, f"{size} bytes where the header describes {place}")


@contextmanager
def written(
    path: Path, tensors: Mapping[str, tuple[str, tuple[int, ...]]], metadata: Mapping[str, str]
) -> Iterator[IO[bytes]]:
    """The file behind its header: the block writes the bytes of every tensor in the given order.

    `tensors`: name to (type, shape). Raises `ValueError` when another number of bytes was written.
    """
    place, fields = 0, {}
    for name, (dtype, shape) in tensors.items():
        end = place + math.prod(shape) * ITEM_BYTES[dtype]
        fields[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps({"__metadata__": dict(metadata), **fields}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        yield file
        if file.tell() != 8 + len(text) + place:
            raise ValueError(f"{file.tell()} bytes written, {8 + len(text) + place} described")


def torch_name(dtype: str) -> str:
    """What torch calls a type of safetensors."""
    return _TORCH[dtype]


def as_tensor(octets: Any, dtype: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor whose bytes a uint8 array holds; shares its memory."""
    import torch

    kind = getattr(torch, _TORCH[dtype])
    if not octets.size:  # numpy gives an empty array a stride that torch cannot view
        return torch.empty(shape, dtype=kind)
    return torch.from_numpy(octets).view(kind).reshape(shape)


def dtype_name(tensor: Tensor) -> str:
    """safetensors' name of a tensor's type. Raises `KeyError` for types the format lacks."""
    names = {value: key for key, value in _TORCH.items()}
    return names[str(tensor.dtype).removeprefix("torch.")]
