"""How the torch runtime's weight files are stored beside plain float32: halved, without their zeros, or
entropy coded.

`runtime_options["storage"]` asks for it: {"half": "bf16", "lossless": "zstd"} or {"sparse": "auto"}, each
optional. A folder is recognised by its files, so that it opens whatever the options say.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiku.weightfiles import lossless, sparse
from tiku.weightfiles._header import as_tensor, read_header
from tiku.weightfiles.half import halve_file
from tiku.weightfiles.lossless import LosslessFile, compress_file
from tiku.weightfiles.sparse import LAYOUTS, read_sparse, sparsify_file

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["STORAGE", "fill", "is_compressed", "is_narrow", "read_weights", "reader", "store"]

STORAGE = "storage"
_PLAIN = ".safetensors"
FLOATS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}  # to torch's names

# Standing behind a source that calls `load_file`, these read such files where plain ones were read.
_LOSSLESS_READER = """\
import json
import zlib

import numpy
import torch
from safetensors import safe_open


def _check(octets):
    words = numpy.zeros(len(octets) // 8 + 1, "<u8")
    words.view(numpy.uint8)[: len(octets)] = octets
    keys = numpy.arange(1, len(words) + 1, dtype=numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15)
    return int(numpy.dot(words, keys ^ keys >> numpy.uint64(32) | numpy.uint64(1)))


def _plane(coder, coded, length):
    if coder == 1:
        return numpy.frombuffer(zlib.decompress(coded), numpy.uint8)
    if coder in (0, 3):
        return coded
    import pyarrow
    given = (coded if coder == 2 else coded[1:]).tobytes()
    plane = numpy.frombuffer(pyarrow.decompress(given, length, codec="zstd", asbytes=True), numpy.uint8)
    if coder == 4:
        plane = plane + coded[0]
    return numpy.where(plane > 0, plane + coded[0], plane) if coder == 5 else plane


def _numbers(coded, width, dtype, runs, count, step):
    octets, place = numpy.empty((count, width), numpy.uint8), 0
    for first, (check, *words) in zip(range(0, count, step), runs):
        part, start = octets[first : first + step], place
        for byte, word in enumerate(words):
            length = (len(part), 1)[word % 8 == 3] if word % 8 in (0, 3) else word // 8
            part[:, byte] = _plane(word % 8, coded[place : place + length], len(part))
            place += length
        assert _check(coded[start:place]) == check, "the weight file is damaged"
    if dtype in ("BF16", "F32"):
        low, high = octets[:, -2].copy(), octets[:, -1].copy()
        octets[:, -2], octets[:, -1] = (low & 127) | (high << 7), (low & 128) | (high >> 1)
    if dtype in ("F16", "F64"):
        words = octets.view("<u%d" % width)
        octets = ((words >> 1) | (words << (8 * width - 1))).view(numpy.uint8)
    return torch.from_numpy(octets.reshape(-1))


def load_file(path):
    kinds = dict(BOOL="bool", U8="uint8", I8="int8", F8_E4M3="float8_e4m3fn", F8_E5M2="float8_e5m2",
                 U16="uint16", I16="int16", F16="float16", BF16="bfloat16", U32="uint32", I32="int32",
                 F32="float32", U64="uint64", I64="int64", F64="float64", C64="complex64")
    stored = dict()
    with safe_open(path, "numpy") as file:
        table = json.loads(file.metadata()["tiku.lossless"])
        for name, (dtype, shape, runs) in table["tensors"].items():
            kind, count = getattr(torch, kinds[dtype]), int(numpy.prod(shape))
            octets = _numbers(file.get_tensor(name), kind.itemsize, dtype, runs, count, table["block"])
            stored[name] = octets.view(kind).reshape(shape) if count else torch.empty(shape, dtype=kind)
    return stored


"""


_SPARSE_READER = """\
import json

import numpy
import torch
from safetensors import safe_open


def _bits(mask, count):
    return torch.from_numpy(numpy.unpackbits(mask.numpy(), count=count, bitorder="little")).bool()


def _wide(parts, layout, rows, columns):
    values = parts["values"]
    if layout == "dense":
        return values
    if layout == "block":
        high, wide = -(-rows // 4), -(-columns // 4)
        blocks = torch.zeros(high * wide, 16, dtype=values.dtype)
        blocks[_bits(parts["mask"], high * wide)] = values.reshape(-1, 16)
        whole = blocks.reshape(high, wide, 4, 4).transpose(1, 2).reshape(4 * high, 4 * wide)
        return whole[:rows, :columns]
    whole = torch.zeros(rows, columns, dtype=values.dtype)
    if layout == "bitmask":
        whole.view(-1)[_bits(parts["mask"], rows * columns)] = values
    elif layout == "csr":
        starts = torch.from_numpy(parts["starts"].numpy().astype(numpy.int64))
        index = torch.from_numpy(parts["columns"].numpy().astype(numpy.int64))
        whole[torch.arange(rows).repeat_interleave(starts.diff()), index] = values
    else:
        pairs = parts["places"].numpy()
        pairs = numpy.stack([pairs & 15, pairs >> 4], 1).reshape(-1)[: rows * columns // 4]
        places = torch.from_numpy(numpy.stack([pairs & 3, pairs >> 2], 1).astype(numpy.int64))
        whole.view(-1, 4).scatter_(1, places, values.reshape(-1, 2))
    return whole


def load_file(path):
    stored = dict()
    with safe_open(path, "pt") as file:
        table = json.loads(file.metadata()["tiku.sparse"])["tensors"]
        for name, (dtype, shape, layout, names, check) in table.items():
            parts = dict((part, file.get_tensor(name + ":" + part)) for part in names)
            count = int(numpy.prod(shape))
            rows = shape[0] if len(shape) > 1 and count else 1
            stored[name] = _wide(parts, layout, rows, count // rows).reshape(shape)
    return stored


"""


def reader(options: Mapping[str, Any]) -> str:
    """Source that defines `load_file(path)` for how the options ask to store; "" for plain files."""
    asked = options.get(STORAGE, {})
    if "lossless" in asked:
        return _LOSSLESS_READER
    return _SPARSE_READER if "sparse" in asked else ""


def store(folder: Path, options: Mapping[str, Any]) -> None:
    """Rewrite the plain weight files of a saved folder as the options ask. Raises `ModelError`."""
    asked = options.get(STORAGE, {})
    for path in sorted(folder.glob(f"*{_PLAIN}")):
        if "half" in asked:
            scratch = path.with_suffix(".half")
            halve_file(path, scratch, asked["half"])
            os.replace(scratch, path)
        if "lossless" in asked:
            compress_file(path, _beside(path, lossless.SUFFIX), coder=asked["lossless"], threads=_threads())
            path.unlink()
        elif "sparse" in asked:
            layouts = LAYOUTS if asked["sparse"] == "auto" else (asked["sparse"],)
            sparsify_file(path, _beside(path, sparse.SUFFIX), layouts)
            path.unlink()
    if is_compressed(folder):
        (folder / "model.safetensors.index.json").unlink(missing_ok=True)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name.removesuffix(_PLAIN) + suffix)


def is_compressed(folder: Path) -> bool:
    """Whether the folder's weights are stored so that only this module reads them."""
    return any(folder.glob(f"*{lossless.SUFFIX}")) or any(folder.glob(f"*{sparse.SUFFIX}"))


def is_narrow(folder: Path, dtype: str) -> bool:
    """Whether plain files store floats in another format than torch's `dtype`: a loader that maps them
    holds the file beside what it widened, half as much again."""
    stored = {e.dtype for p in folder.glob(f"*{_PLAIN}") for e in read_header(p).entries.values()}
    return bool(stored & set(FLOATS) - {name for name, kind in FLOATS.items() if kind == dtype})


def read_weights(folder: Path, dtype: str | None = None) -> dict[str, Tensor]:
    """All tensors of the folder's files; those of plain files one by one, floats as torch's `dtype`.

    Raises `ModelError`.
    """
    found: dict[str, Tensor] = {}
    if not is_compressed(folder):
        for path in sorted(folder.glob(f"*{_PLAIN}")):
            found.update(_plain(path, dtype))
    for path in sorted(folder.glob(f"*{lossless.SUFFIX}")):
        found.update(LosslessFile(path, threads=_threads()).read_all())
    for path in sorted(folder.glob(f"*{sparse.SUFFIX}")):
        found.update(read_sparse(path))
    return found


def _plain(path: Path, dtype: str | None) -> Iterator[tuple[str, Tensor]]:
    import numpy as np
    import torch

    for name, entry in read_header(path).entries.items():
        octets = np.fromfile(path, np.uint8, entry.bytes, offset=entry.start)
        tensor = as_tensor(octets, entry.dtype, entry.shape)
        yield name, tensor.to(getattr(torch, dtype)) if dtype and entry.dtype in FLOATS else tensor


def fill(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put weights into a module that was built before; tensors that share memory are stored once.

    Raises `RuntimeError` where a weight is missing or has no place.
    """
    wanted = module.state_dict()
    unknown = sorted(set(weights) - set(wanted))
    reached = {wanted[name].data_ptr() for name in weights if name in wanted}
    lacking = sorted(n for n, t in wanted.items() if n not in weights and t.data_ptr() not in reached)
    if unknown or lacking:
        raise RuntimeError(f"weights without a place: {unknown[:4]}; places without weights: {lacking[:4]}")
    module.load_state_dict(dict(weights), strict=False)


def _threads() -> int:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, allowed)
