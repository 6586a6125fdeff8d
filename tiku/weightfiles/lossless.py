"""Safetensors files whose tensors are entropy coded: the same bits back, tensor by tensor.

Such a file is itself a safetensors file. Each tensor became one uint8 tensor of the same name, its coded
blocks end to end; the text field `tiku.lossless` lists type, shape and, for each run of numbers, a checksum
and coder and bytes of each plane; `sha256` is the digest of that list. Every run is checked before it is
decoded.
"""

from __future__ import annotations

import math
import mmap
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tiku.core.errors import MissingExtra, ModelError
from tiku.weightfiles._blocks import (
    BLOCK,
    ZLIB,
    ZSTD,
    Expander,
    checksum,
    encode,
    size_of,
    zstd_installed,
)  # fmt: skip
from tiku.weightfiles._header import ITEM_BYTES, Entry, Header, as_tensor, damaged, read_header, written
from tiku.weightfiles._planes import Joiner, split
from tiku.weightfiles._sealed import sealed, unsealed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from tiku.weightfiles._planes import Plane

__all__ = ["CODERS", "SUFFIX", "TABLE", "LosslessFile", "compress_file", "zstd_installed"]

CODERS = {"zlib": ZLIB, "zstd": ZSTD}
SUFFIX = ".lossless.safetensors"

TABLE, _VERSION = "tiku.lossless", 2

_ALIGNED = 64


@dataclass(frozen=True)
class Run:
    """Up to `BLOCK` numbers: the checksum of all their coded bytes, (coder, coded bytes) of each plane."""

    check: int
    planes: tuple[tuple[int, int], ...]

    @property
    def bytes(self) -> int:
        """Coded bytes of all planes."""
        return sum(length for _, length in self.planes)


@dataclass(frozen=True)
class Stored:
    """One tensor of the list: its type and shape, and its runs."""

    dtype: str
    shape: tuple[int, ...]
    runs: tuple[Run, ...]

    @property
    def size(self) -> int:
        """Bytes of the tensor."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


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
        sizes = {n: ("U8", (sum(run.bytes for run in s.runs),)) for n, s in table.items()}
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
        return self._read([self._tensors[name]], [self._places[name].start])[0]

    def read_all(self) -> dict[str, Tensor]:
        """All tensors by name."""
        starts = [self._places[name].start for name in self._tensors]
        return dict(zip(self._tensors, self._read(list(self._tensors.values()), starts), strict=True))

    def _read(self, tensors: list[Stored], starts: list[int]) -> list[Tensor]:
        """Tensors side by side in one piece of memory."""
        import numpy as np

        edges = list(accumulate((-(-t.size // _ALIGNED) * _ALIGNED for t in tensors), initial=0))
        memory = np.frombuffer(_memory(edges[-1], self._threads), np.uint8)
        parts = [memory[at : at + t.size] for at, t in zip(edges, tensors, strict=False)]
        own = threading.local()

        def decode(step: Step) -> None:
            if not hasattr(own, "reader"):
                own.reader = _Reader(self.path, file.fileno())
            own.reader.decode(step)

        with self.path.open("rb") as file, ThreadPoolExecutor(self._threads) as pool:
            work = map if self._threads == 1 else pool.map
            for _ in work(decode, _steps(tensors, starts, parts)):
                pass
        return [as_tensor(part, t.dtype, t.shape) for t, part in zip(tensors, parts, strict=True)]


def _memory(size: int, threads: int) -> mmap.mmap:
    """Fresh memory in ordinary pages. numpy asks for huge ones, which the system makes by moving others
    about: over 1 s for 500 MB where memory is in use, against 0.3 s. One thread takes its pages at once
    (a third less); several take them side by side while they write."""
    flags = getattr(mmap, "MAP_POPULATE", 0) if threads == 1 else 0
    if not hasattr(mmap, "MAP_PRIVATE"):  # Windows
        return mmap.mmap(-1, max(1, size))
    return mmap.mmap(-1, max(1, size), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | flags)


@dataclass(frozen=True, eq=False)
class Step:
    """A run, where its coded bytes begin in the file, and where its numbers go."""

    run: Run
    dtype: str
    start: int
    out: NDArray[np.uint8]


def _steps(
    tensors: Iterable[Stored], starts: Iterable[int], parts: Iterable[NDArray[np.uint8]]
) -> Iterator[Step]:
    for stored, start, part in zip(tensors, starts, parts, strict=True):
        length = BLOCK * ITEM_BYTES[stored.dtype]
        for number, run in enumerate(stored.runs):
            yield Step(run, stored.dtype, start, part[number * length : (number + 1) * length])
            start += run.bytes


class _Reader:
    """What one thread needs to decode runs one after the other, in memory that stays in its cache."""

    def __init__(self, path: Path, file: int) -> None:
        import numpy as np

        self._path, self._file = path, file
        self._coded = np.empty(0, np.uint8)
        self._expander, self._joiner = Expander(), Joiner()

    def decode(self, step: Step) -> None:
        """Raises `ModelError` for bytes that are not those that were written."""
        import numpy as np

        run = step.run
        if len(self._coded) < run.bytes:
            self._coded = np.empty(run.bytes, np.uint8)
        coded = self._coded[: run.bytes]
        if os.preadv(self._file, [coded.data], step.start) != run.bytes or checksum(coded) != run.check:
            raise damaged(self._path, "a block does not have the checksum it was written with")
        planes: list[Plane] = []
        at, numbers = 0, len(step.out) // len(run.planes)
        try:
            for slot, (coder, length) in enumerate(run.planes):
                planes.append(self._expander.expand(coder, coded[at : at + length], numbers, slot))
                at += length
        except ValueError as error:
            raise damaged(self._path, error) from error
        self._joiner.join(planes, step.dtype, step.out)


def _code(entry: Entry, file: IO[bytes], out: IO[bytes], coder: int, threads: int) -> tuple[Run, ...]:
    """Append a tensor's blocks to `out`; their list."""
    step = BLOCK * ITEM_BYTES[entry.dtype]
    starts = range(entry.start, entry.end, step)
    runs: list[Run] = []

    def planes(start: int) -> list[tuple[int, bytes]]:
        import numpy as np

        octets = np.frombuffer(os.pread(file.fileno(), min(step, entry.end - start), start), np.uint8)
        return [encode(plane, coder) for plane in split(octets, entry.dtype, ITEM_BYTES[entry.dtype])]

    with ThreadPoolExecutor(threads) as pool:
        for several in _batched(starts, 4 * threads):  # bounds what waits to be written
            for coded in pool.map(planes, several):
                runs.append(_run(coded, out))
    return tuple(runs)


def _run(coded: list[tuple[int, bytes]], out: IO[bytes]) -> Run:
    import numpy as np

    content = b"".join(octets for _, octets in coded)
    out.write(content)
    check = checksum(np.frombuffer(content, np.uint8))
    return Run(check, tuple((used, len(octets)) for used, octets in coded))


def _batched(items: range, count: int) -> Iterator[range]:
    edges = [*range(0, len(items), count), len(items)]
    return (items[first:last] for first, last in pairwise(edges))


def _describe(table: Mapping[str, Stored], metadata: Mapping[str, str]) -> dict[str, str]:
    """Each run as its checksum and, for each plane, its coder plus 8 times its bytes where these do not
    follow from the coder."""

    def listed(run: Run) -> list[int]:
        return [run.check, *(c if size_of(c, 0) is not None else c + 8 * n for c, n in run.planes)]

    tensors = {name: [s.dtype, list(s.shape), [listed(run) for run in s.runs]] for name, s in table.items()}
    value = {"version": _VERSION, "block": BLOCK, "metadata": dict(metadata), "tensors": tensors}
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
        name: Stored(dtype, tuple(shape), tuple(_listed_runs(math.prod(shape), runs)))
        for name, (dtype, shape, runs) in value["tensors"].items()
    }
    _check_places(path, tensors, header.entries)
    return tensors, value["metadata"]


def _listed_runs(numbers: int, runs: list[list[int]]) -> Iterator[Run]:
    for place, (check, *planes) in enumerate(runs):
        length = min(BLOCK, numbers - place * BLOCK)
        sizes = ((word % 8, size_of(word % 8, length)) for word in planes)
        yield Run(
            check,
            tuple((c, word // 8 if n is None else n) for word, (c, n) in zip(planes, sizes, strict=True)),
        )


def _check_places(path: Path, tensors: Mapping[str, Stored], places: Mapping[str, Entry]) -> None:
    """The list and the header must tell of the same bytes."""
    if sorted(tensors) != sorted(places):
        raise damaged(path, "the header names other tensors than the list of blocks")
    for name, stored in tensors.items():
        place, width = places[name], ITEM_BYTES[stored.dtype]
        fits = len(stored.runs) == -(-stored.size // (BLOCK * width))
        fits = fits and all(len(run.planes) == width for run in stored.runs)
        if place.dtype != "U8" or place.bytes != sum(run.bytes for run in stored.runs) or not fits:
            raise damaged(path, f"{name} has another length than its list of blocks")
