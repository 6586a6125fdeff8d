"""Running a model whose blocks stay on disk: each is read while the one before it computes.

Two buffers hold one block each. A block's weights are views into the buffer that was filled for it, so that
memory holds what is not repeated (embeddings, norms, the head), `resident` blocks, and two more.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tiku.core.errors import ArtefactError
from tiku.weightfiles._header import ITEM_BYTES, Entry, as_tensor, read_header

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn

__all__ = ["blocks_of", "float_types", "stream"]

_BUFFERS = 2
_FLOATS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True)
class Source:
    """Where a weight lies: an open file and the entry of its header."""

    file: int
    entry: Entry


def blocks_of(module: nn.Module) -> tuple[str, list[nn.Module]]:
    """(name, blocks) of the list of like layers that holds the most weights; ("", []) where there is none."""
    from torch import nn

    lists = {
        name: list(part)
        for name, part in module.named_modules()
        if isinstance(part, nn.ModuleList) and len(part) > 1 and len({type(block) for block in part}) == 1
    }
    if not lists:
        return "", []
    largest = max(lists, key=lambda name: sum(p.numel() for b in lists[name] for p in b.parameters()))
    return largest, lists[largest]


def float_types(folder: Path) -> set[str]:
    """torch's names of the floating types that the folder's plain weight files store."""
    entries = [e for path in folder.glob("*.safetensors") for e in read_header(path).entries.values()]
    return {_FLOATS[entry.dtype] for entry in entries if entry.dtype in _FLOATS}


def stream(module: nn.Module, folder: Path, resident: int, dtype: torch.dtype) -> Streamer | None:
    """Let go of the weights of all blocks but the first `resident` and read them from the folder's files
    whenever they are needed; None where that leaves nothing on disk. `module` is changed.

    Raises `ArtefactError` where the files do not hold the blocks' weights under the module's names.
    """
    name, blocks = blocks_of(module)
    _widen(module, {id(p) for block in blocks[resident:] for p in block.parameters()}, dtype)
    sources, wanted = _sources(folder), []
    for number, block in list(enumerate(blocks))[resident:]:
        found = {n: sources.get(f"{name}.{number}.{n}") for n, _ in block.named_parameters()}
        lacking = [n for n, p in block.named_parameters() if not _matches(found[n], p)]
        if lacking:
            raise ArtefactError(
                "the weight files do not hold the layers that are to be streamed",
                got=f"no {name}.{number}.{lacking[0]} of its shape in {folder}",
                allowed="plain safetensors under the module's own names",
                next_step="build the artefact again, or build it without layer-streaming",
            )
        wanted.append({n: source for n, source in found.items() if source is not None})
    return Streamer(blocks[resident:], wanted, dtype) if wanted else None


class Streamer:
    """Fills buffers in a thread of its own, one block ahead; hooks on the blocks hand the weights over."""

    def __init__(
        self, blocks: Sequence[nn.Module], sources: Sequence[Mapping[str, Source]], dtype: torch.dtype
    ) -> None:
        import torch

        self._blocks, self._sources, self._dtype = blocks, sources, dtype
        sizes = [sum(_numbers(s.entry) for s in weights.values()) for weights in sources]
        self._buffers = [torch.empty(max(sizes), dtype=dtype) for _ in range(min(_BUFFERS, len(blocks)))]
        self._pool = ThreadPoolExecutor(1)
        self._ahead: tuple[int, Future[int]] | None = None
        self._held: dict[int, int] = {}  # buffer to block
        self._hooks = [
            block.register_forward_pre_hook(lambda *_, number=number: self._enter(number))
            for number, block in enumerate(blocks)
        ]
        for number in range(len(blocks)):
            self._empty(number)

    def close(self) -> None:
        """Stop reading. The module cannot run after that."""
        for hook in self._hooks:
            hook.remove()
        self._pool.shutdown(wait=True)
        for file in {source.file for weights in self._sources for source in weights.values()}:
            os.close(file)

    def _enter(self, number: int) -> None:
        """Before a block computes: take its buffer, and begin to fill the other with the next block."""
        if self._ahead is not None:
            self._ahead[1].result()
            self._ahead = None
        buffer = self._where(number)
        if buffer is None:
            buffer = self._fill(number, 0)
        self._attach(number, buffer)
        following = (number + 1) % len(self._blocks)
        if self._where(following) is None:
            other = (buffer + 1) % len(self._buffers)
            self._ahead = (following, self._pool.submit(self._fill, following, other))

    def _where(self, number: int) -> int | None:
        return next((buffer for buffer, held in self._held.items() if held == number), None)

    def _fill(self, number: int, buffer: int) -> int:
        if buffer in self._held:
            self._empty(self._held.pop(buffer))
        place = 0
        for source in self._sources[number].values():
            count = _numbers(source.entry)
            _read(source, self._buffers[buffer][place : place + count])
            place += count
        self._held[buffer] = number
        return buffer

    def _attach(self, number: int, buffer: int) -> None:
        place, weights = 0, dict(self._blocks[number].named_parameters())
        for name, source in self._sources[number].items():
            count = _numbers(source.entry)
            weights[name].data = self._buffers[buffer][place : place + count].view(source.entry.shape)
            place += count

    def _empty(self, number: int) -> None:
        """Weights of no memory: what computes with them by mistake fails instead of answering."""
        import torch

        for weight in self._blocks[number].parameters():
            weight.data = torch.empty(0, dtype=self._dtype)


def _sources(folder: Path) -> dict[str, Source]:
    found: dict[str, Source] = {}
    for path in sorted(folder.glob("*.safetensors")):
        file = os.open(path, os.O_RDONLY)
        found |= {name: Source(file, entry) for name, entry in read_header(path).entries.items()}
    return found


def _matches(source: Source | None, weight: torch.Tensor) -> bool:
    return source is not None and source.entry.dtype in _FLOATS and source.entry.shape == tuple(weight.shape)


def _numbers(entry: Entry) -> int:
    return entry.bytes // ITEM_BYTES[entry.dtype]


def _read(source: Source, out: torch.Tensor) -> None:
    """Fill `out`, widening on the way where the file stores fewer bits."""
    import numpy as np
    import torch

    entry = source.entry
    same = getattr(torch, _FLOATS[entry.dtype]) == out.dtype
    octets: NDArray[np.uint8] = out.view(torch.uint8).numpy() if same else np.empty(entry.bytes, np.uint8)
    done = 0
    while done < entry.bytes:
        read = os.preadv(source.file, [octets[done:].data], entry.start + done)
        if not read:
            raise ArtefactError(
                "a weight file became shorter while the model was running", got=f"{done} bytes",
                allowed=f"{entry.bytes} bytes", next_step="build the artefact again",
            )  # fmt: skip
        done += read
    if not same:
        out.copy_(as_tensor(octets, entry.dtype, (len(out),)))


def _widen(module: nn.Module, left: set[int], dtype: torch.dtype) -> None:
    """Every weight but those in `left` in the number format of the computation, each as memory of its own."""
    for weight in module.parameters():
        if id(weight) not in left:
            weight.data = weight.data.to(dtype)
    if hasattr(module, "config"):
        module.config.dtype = dtype
