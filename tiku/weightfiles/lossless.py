"""Safetensors files whose tensors are entropy coded: the same bits back, tensor by tensor.

Such a file is itself a safetensors file. Each tensor became one uint8 tensor of the same name, its coded
blocks end to end; the text field `tiku.lossless` lists type, shape and blocks (coder, bytes, CRC-32), and
`sha256` is the digest of that list. Every block is checked before it is decoded.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tiku.core.errors import MissingExtra, ModelError
from tiku.weightfiles._blocks import BLOCK, ZLIB, ZSTD, encode, expand, join, split, zstd_installed
from tiku.weightfiles._header import ITEM_BYTES, Entry, Header, as_tensor, damaged, read_header, written
from tiku.weightfiles._sealed import sealed, unsealed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["CODERS", "SUFFIX", "TABLE", "LosslessFile", "compress_file", "zstd_installed"]

CODERS = {"zlib": ZLIB, "zstd": ZSTD}
SUFFIX = ".lossless.safetensors"

TABLE, _VERSION = "tiku.lossless", 1

Block = tuple[int, int, int]  # coder, coded bytes, CRC-32 of them


@dataclass(frozen=True)
class Stored:
    """One tensor of the list: its type and shape, and its blocks: for each run of numbers, the planes."""

    dtype: str
    shape: tuple[int, ...]
    blocks: tuple[Block, ...]


def compress_file(source: Path, target: Path, *, coder: str = "zlib", threads: int = 1) -> None:
    """Write `target` from the plain safetensors file `source`. Raises `ModelError`, `MissingExtra`."""
    if coder == "zstd" and not zstd_installed():
        raise MissingExtra(
            "writing zstd blocks needs a package that is not installed",
            got="zstandard",
            next_step="pip install 'tiku[weights]', or choose the coder zlib",
        )
    header = read_header(source)
    with tempfile.TemporaryFile(dir=target.parent) as blocks, source.open("rb") as file:
        table = {
            name: Stored(entry.dtype, entry.shape, _code(entry, file, blocks, CODERS[coder], threads))
            for name, entry in header.entries.items()
        }
        blocks.seek(0)
        sizes = {n: ("U8", (sum(length for _, length, _ in s.blocks),)) for n, s in table.items()}
        with written(target, sizes, _describe(table, header.metadata)) as out:
            shutil.copyfileobj(blocks, out, 1 << 20)


class LosslessFile:
    """A compressed file, opened by its list alone; tensors are read and checked when they are asked for.

    Raises `ModelError` where the file is not whole.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        self.path, self._threads = path, threads
        header = read_header(path)
        self._places = header.entries
        self._tensors, self.metadata = _listed(path, header)

    def shapes(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Type and shape of each tensor."""
        return {name: (stored.dtype, stored.shape) for name, stored in self._tensors.items()}

    def names(self) -> list[str]:
        """The tensors, in the order of the file."""
        return list(self._tensors)

    def read(self, name: str) -> Tensor:
        """One tensor, bit for bit. Raises `KeyError` for a name the file lacks, `ModelError` for damage."""
        with ThreadPoolExecutor(self._threads) as pool:
            return self._read(name, pool)

    def read_all(self) -> dict[str, Tensor]:
        """All tensors by name."""
        with ThreadPoolExecutor(self._threads) as pool:
            return {name: self._read(name, pool) for name in self._tensors}

    def _read(self, name: str, pool: ThreadPoolExecutor) -> Tensor:
        import numpy as np

        stored = self._tensors[name]
        width = ITEM_BYTES[stored.dtype]
        out = np.empty(math.prod(stored.shape) * width, np.uint8)
        starts = list(accumulate((b[1] for b in stored.blocks), initial=self._places[name].start))
        runs = range(0, len(stored.blocks), width)
        with self.path.open("rb") as file:

            def decode(first: int) -> None:
                begin = first // width * BLOCK * width
                part = out[begin : begin + BLOCK * width]
                blocks = stored.blocks[first : first + width]
                self._decode(file.fileno(), starts[first], blocks, stored.dtype, part)

            for _ in pool.map(decode, runs):
                pass
        return as_tensor(out, stored.dtype, stored.shape)

    def _decode(
        self, file: int, start: int, blocks: tuple[Block, ...], dtype: str, out: NDArray[np.uint8]
    ) -> None:
        planes = []
        for coder, length, check in blocks:
            coded = os.pread(file, length, start)
            start += length
            if len(coded) != length or zlib.crc32(coded) != check:
                raise damaged(self.path, "a block does not have the checksum it was written with")
            try:
                planes.append(expand(coder, coded, len(out) // len(blocks)))
            except ValueError as error:
                raise damaged(self.path, error) from error
        join(planes, dtype, out)


def _code(entry: Entry, file: IO[bytes], out: IO[bytes], coder: int, threads: int) -> tuple[Block, ...]:
    """Append a tensor's blocks to `out`; their list."""
    step = BLOCK * ITEM_BYTES[entry.dtype]
    starts = range(entry.start, entry.end, step)
    blocks: list[Block] = []

    def planes(start: int) -> list[tuple[int, bytes]]:
        import numpy as np

        octets = np.frombuffer(os.pread(file.fileno(), min(step, entry.end - start), start), np.uint8)
        return [encode(plane, coder) for plane in split(octets, entry.dtype, ITEM_BYTES[entry.dtype])]

    with ThreadPoolExecutor(threads) as pool:
        for several in _batched(starts, 4 * threads):  # bounds what waits to be written
            for coded in pool.map(planes, several):
                for used, content in coded:
                    out.write(content)
                    blocks.append((used, len(content), zlib.crc32(content)))
    return tuple(blocks)


def _batched(items: range, count: int) -> Iterator[range]:
    edges = [*range(0, len(items), count), len(items)]
    return (items[first:last] for first, last in pairwise(edges))


def _describe(table: Mapping[str, Stored], metadata: Mapping[str, str]) -> dict[str, str]:
    listed = {name: [s.dtype, list(s.shape), [list(b) for b in s.blocks]] for name, s in table.items()}
    value = {"version": _VERSION, "block": BLOCK, "metadata": dict(metadata), "tensors": listed}
    return sealed(TABLE, value)


def _listed(path: Path, header: Header) -> tuple[dict[str, Stored], dict[str, str]]:
    """The checked list, and the text fields of the file that was compressed. Raises `ModelError`."""
    value = unsealed(TABLE, path, header)
    if value["version"] != _VERSION or value["block"] != BLOCK:
        raise ModelError(
            "this file was compressed by another version",
            got=f"version {value['version']}, blocks of {value['block']}",
            allowed=f"version {_VERSION}, blocks of {BLOCK}",
            next_step="open it with the tiku that wrote it",
        )
    tensors = {
        name: Stored(dtype, tuple(shape), tuple((b[0], b[1], b[2]) for b in blocks))
        for name, (dtype, shape, blocks) in value["tensors"].items()
    }
    _check_places(path, tensors, header.entries)
    return tensors, value["metadata"]


def _check_places(path: Path, tensors: Mapping[str, Stored], places: Mapping[str, Entry]) -> None:
    """The list and the header must tell of the same bytes."""
    if sorted(tensors) != sorted(places):
        raise damaged(path, "the header names other tensors than the list of blocks")
    for name, stored in tensors.items():
        place, numbers = places[name], math.prod(stored.shape)
        runs = -(-numbers // BLOCK)
        fits = len(stored.blocks) == runs * ITEM_BYTES[stored.dtype]
        if place.dtype != "U8" or place.bytes != sum(b[1] for b in stored.blocks) or not fits:
            raise damaged(path, f"{name} has another length than its list of blocks")
