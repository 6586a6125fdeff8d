"""Running a model whose blocks stay on disk: each is read while the one before it computes.

Two buffers hold one block each. A block's weights are views into the buffer that was filled for it, so that
memory holds what is not repeated (embeddings, norms, the head), `resident` blocks, and two more. Weights that
lie side by side in a file are read in one go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tiku.core.errors import ArtefactError
from tiku.runtimes._disk_reading import PAGE, DiskFile, whole_pages
from tiku.weightfiles._header import ITEM_BYTES, Entry, read_header

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["blocks_of", "float_types", "stream"]

_BUFFERS = 2
_FLOATS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True)
class Source:
    """Where a weight lies: an open file and the entry of its header."""

    file: DiskFile
    entry: Entry


@dataclass(frozen=True)
class Run:
    """Whole pages of a file, and where they go in a buffer."""

    file: DiskFile
    start: int
    end: int
    place: int


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

        self._blocks, self._sources, self._dtype = blocks, sources, dtype
        self._plans = [_plan(weights, dtype) for weights in sources]
        size = max(plan.size for plan in self._plans)
        self._buffers = [_pages(size) for _ in range(min(_BUFFERS, len(blocks)))]
        self._aside = _pages(max(plan.aside for plan in self._plans))
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
            file.close()

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
        plan, held = self._plans[number], self._buffers[buffer]
        for run in plan.runs:
            run.file.read(run.start, _octets(held[run.place : run.place + run.end - run.start]))
        for name, source in self._sources[number].items():
            if name in plan.widened:
                self._widen(source, _view(held, plan.places[name], source.entry, self._dtype))
        self._held[buffer] = number
        return buffer

    def _widen(self, source: Source, out: torch.Tensor) -> None:
        import torch

        start, end = whole_pages(source.entry.start, source.entry.end)
        source.file.read(start, _octets(self._aside[: end - start]))
        stored = getattr(torch, _FLOATS[source.entry.dtype])
        out.copy_(_view(self._aside, source.entry.start - start, source.entry, stored))

    def _attach(self, number: int, buffer: int) -> None:
        plan, weights = self._plans[number], dict(self._blocks[number].named_parameters())
        for name, source in self._sources[number].items():
            weights[name].data = _view(self._buffers[buffer], plan.places[name], source.entry, self._dtype)

    def _empty(self, number: int) -> None:
        """Weights of no memory: what computes with them by mistake fails instead of answering."""
        import torch

        for weight in self._blocks[number].parameters():
            weight.data = torch.empty(0, dtype=self._dtype)


@dataclass(frozen=True)
class Plan:
    """How a block's weights come into a buffer of `size` bytes: runs that are read as they are, weights that
    are widened by way of `aside` bytes elsewhere, and the byte at which each weight begins."""

    runs: tuple[Run, ...]
    places: Mapping[str, int]
    widened: frozenset[str]
    size: int
    aside: int


def _plan(weights: Mapping[str, Source], dtype: torch.dtype) -> Plan:
    import torch

    widened = {n for n, s in weights.items() if getattr(torch, _FLOATS[s.entry.dtype]) != dtype}
    kept = sorted(weights.keys() - widened, key=lambda n: (str(weights[n].file.path), weights[n].entry.start))
    runs: list[Run] = []
    places: dict[str, int] = {}
    size = 0
    for name in kept:
        source = weights[name]
        start, end = whole_pages(source.entry.start, source.entry.end)
        if runs and runs[-1].file is source.file and start <= runs[-1].end:
            runs[-1] = replace(runs[-1], end=max(end, runs[-1].end))
        else:
            runs.append(Run(source.file, start, end, size))
        size = runs[-1].place + runs[-1].end - runs[-1].start
        places[name] = runs[-1].place + source.entry.start - runs[-1].start
    for name in sorted(widened):
        places[name] = size
        size += -(-_numbers(weights[name].entry) * dtype.itemsize // PAGE) * PAGE
    entries = [whole_pages(weights[n].entry.start, weights[n].entry.end) for n in widened]
    return Plan(tuple(runs), places, frozenset(widened), size, max((e - s for s, e in entries), default=0))


def _pages(size: int) -> torch.Tensor:
    """uint8, from the beginning of a page on."""
    import torch

    whole = torch.empty(size + PAGE, dtype=torch.uint8)
    first = -whole.data_ptr() % PAGE
    return whole[first : first + size]


def _octets(part: torch.Tensor) -> memoryview:
    return part.numpy().data


def _view(held: torch.Tensor, place: int, entry: Entry, dtype: torch.dtype) -> torch.Tensor:
    count = _numbers(entry)
    return held[place : place + count * dtype.itemsize].view(dtype).view(entry.shape)


def _sources(folder: Path) -> dict[str, Source]:
    found: dict[str, Source] = {}
    for path in sorted(folder.glob("*.safetensors")):
        file = DiskFile(path)
        found |= {name: Source(file, entry) for name, entry in read_header(path).entries.items()}
    return found


def _matches(source: Source | None, weight: torch.Tensor) -> bool:
    return source is not None and source.entry.dtype in _FLOATS and source.entry.shape == tuple(weight.shape)


def _numbers(entry: Entry) -> int:
    return entry.bytes // ITEM_BYTES[entry.dtype]


def _widen(module: nn.Module, left: set[int], dtype: torch.dtype) -> None:
    """Every weight but those in `left` in the number format of the computation, each as memory of its own."""
    for weight in module.parameters():
        if id(weight) not in left:
            weight.data = weight.data.to(dtype)
    if hasattr(module, "config"):
        module.config.dtype = dtype
