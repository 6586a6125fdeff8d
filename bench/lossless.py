"""Lossless weight files against ZipNN's safetensors plugin and zstd of the whole file: size, time to load.

From a file in the page cache to tensors in memory, with the same threads, each load in a fresh child process
(forked before anything has computed), so that neither side finds memory that it used before. ZipNN is set up
as its safetensors plugin reads it: each tensor compressed on its own by Huffman's code; zstd at level 3.
"""

from __future__ import annotations

import hashlib
import os
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench._environment import enter
from bench._pairs import Row, limit_threads, paired_row, run

if TYPE_CHECKING:
    from torch import Tensor

Load = Callable[[], dict[str, "Tensor"]]


def _in_child(load: Load) -> tuple[float, str]:
    """Seconds of the load in a forked child, and the digest of what it gave."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        start = time.perf_counter()
        found = load()
        seconds = time.perf_counter() - start
        os.write(writing, struct.pack("d", seconds) + _digest(found))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        content = answer.read()
    os.waitpid(child, 0)
    if len(content) != 40:
        raise RuntimeError("the load failed in its child process")
    return struct.unpack("d", content[:8])[0], content[8:].hex()


def _digest(tensors: dict[str, Tensor]) -> bytes:
    import torch

    whole = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        whole.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return whole.digest()


def _made_for_zipnn(source: Path, target: Path) -> None:
    """As ZipNN's own script for safetensors does it; integers stay as they are."""
    import torch
    from safetensors.torch import load_file, save_file
    from zipnn import ZipNN
    from zipnn.util_safetensors import build_compressed_tensor_info, set_compressed_tensors_metadata

    described, stored = {}, {}
    for name, tensor in load_file(source).items():
        stored[name] = tensor
        if tensor.is_floating_point():
            described[name] = build_compressed_tensor_info(tensor)
            coded = ZipNN(input_format="torch", method="HUFFMAN").compress(tensor.clone())
            stored[name] = torch.frombuffer(bytearray(coded), dtype=torch.uint8)
    metadata = {"format": "pt"}
    set_compressed_tensors_metadata(described, metadata)
    save_file(stored, target, metadata=metadata)


def _by_zipnn(path: Path) -> Load:
    def load() -> dict[str, Tensor]:
        import safetensors.torch
        from zipnn import zipnn_safetensors

        zipnn_safetensors()
        with safetensors.torch.safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    return load


def _by_zstd(path: Path) -> Load:
    def load() -> dict[str, Tensor]:
        import zstandard
        from safetensors.torch import load

        return load(zstandard.ZstdDecompressor().decompress(path.read_bytes()))

    return load


def _by_tiku(path: Path, threads: int) -> Load:
    from tiku.weightfiles.lossless import LosslessFile

    return lambda: LosslessFile(path, threads=threads).read_all()


def _sources(folder: Path) -> Iterator[tuple[str, Path]]:
    """The samples as plain files: smollm2 in bf16 and float32, minilm as it comes."""
    from safetensors.torch import save_file

    from tiku.core import registry
    from tiku.data.archives import cache_folder

    source = registry.get("samples", "smollm2").fetch()
    module = registry.get("models", "causal-lm").load(str(source), cache=cache_folder()).module
    for kind in ("bfloat16", "float32"):
        path = folder / f"smollm2-{kind}.safetensors"
        save_file({n: _as(p, kind) for n, p in module.named_parameters()}, path, metadata={"format": "pt"})
        yield f"smollm2, {kind}", path
    fetched = Path(registry.get("samples", "minilm").fetch())
    yield "minilm, float32", next(fetched.rglob("*.safetensors"))


def _as(weight: Any, kind: str) -> Tensor:
    import torch

    return weight.detach().to(getattr(torch, kind)).contiguous()


def _files(source: Path, folder: Path, threads: int) -> dict[str, tuple[Path, Load]]:
    """The compressed file of each side, and how it is loaded."""
    import zstandard

    from tiku.weightfiles.lossless import compress_file

    paths = {name: folder / f"{source.stem}.{name}" for name in ("tiku", "zipnn", "zstandard")}
    compress_file(source, paths["tiku"], coder="zstd", threads=threads)
    _made_for_zipnn(source, paths["zipnn"])
    paths["zstandard"].write_bytes(zstandard.ZstdCompressor(level=3).compress(source.read_bytes()))
    loads = _by_tiku(paths["tiku"], threads), _by_zipnn(paths["zipnn"]), _by_zstd(paths["zstandard"])
    return {name: (paths[name], load) for name, load in zip(paths, loads, strict=True)}


def _compared(case: str, source: Path, folder: Path, threads: int, pairs: int) -> Iterator[Row]:
    files = _files(source, folder, threads)
    seconds: dict[str, list[float]] = {name: [] for name in files}
    digests = set()
    for turn in range(pairs):
        for name in sorted(files, reverse=turn % 2 == 1):
            found, digest = _in_child(files[name][1])
            seconds[name].append(found)
            digests.add(digest)
        print(f"{case}: turn {turn + 1} of {pairs}", file=sys.stderr)
    if len(digests) != 1:
        raise AssertionError(f"{case}: the tensors differ")
    size = {name: path.stat().st_size for name, (path, _) in files.items()}
    whole = source.stat().st_size
    for peer in ("zipnn", "zstandard"):
        work = (
            f"the same bits; size ours {size['tiku'] / whole:.4f} of {whole / 1e6:.0f} MB, "
            f"peer {size[peer] / whole:.4f}; ours {whole / min(seconds['tiku']) / 1e6:.0f} MB/s at best"
        )
        yield paired_row(
            f"load {case}, {threads} threads",
            seconds["tiku"],
            seconds[peer],
            work,
            peer_package=peer,
            unit="s",
        )


def rows(pairs: int) -> Iterator[Row]:
    """Two for each file."""
    threads = int(os.environ["OMP_NUM_THREADS"])
    with tempfile.TemporaryDirectory() as folder:
        for case, path in _sources(Path(folder)):
            yield from _compared(case, path, Path(folder), threads, pairs)


if __name__ == "__main__":
    enter("lossless", "zipnn", ("zipnn", "zstandard"))
    limit_threads(min(2, os.cpu_count() or 1))
    run("lossless", rows)
