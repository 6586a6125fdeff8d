"""Running a model whose blocks stay on disk: each is read while the one before it computes.

Two buffers hold one block each. A block's weights, and the codes and scales of its few-bit layers, are views
into the buffer that was filled for it, so that memory holds what is not repeated (embeddings, norms, the
head), `resident` blocks, and two more. Tensors that lie side by side in a file are read in one go.

The resident blocks are spread evenly: the disk is at work while they compute, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from tiku.core.errors import ArtefactError
from tiku.runtimes._compressed_tensors import quantised_layers
from tiku.runtimes._disk_reading import PAGE, DiskFile, looked_up, whole_pages
from tiku.runtimes._streaming_plan import Plan, Source, plan_of, view_of
from tiku.runtimes._streaming_threads import one_thread_for_few
from tiku.weightfiles._header import Entry, read_header

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.utils.hooks import RemovableHandle

__all__ = ["blocks_of", "float_types", "stream"]

_BUFFERS = 2
_FLOATS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_KEPT = "weight_shape"  # of a few-bit layer: two numbers that nothing computes with


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
    largest = max(lists, key=lambda n: sum(t.nbytes for b in lists[n] for t in _tensors(b).values()))
    return largest, lists[largest]


def float_types(folder: Path) -> set[str]:
    """torch's names of the floating types that the folder's plain weight files store."""
    entries = [e for path in folder.glob("*.safetensors") for e in read_header(path).entries.values()]
    return {_FLOATS[entry.dtype] for entry in entries if entry.dtype in _FLOATS}


def stream(module: nn.Module, folder: Path, resident: int, dtype: torch.dtype) -> Streamer | None:
    """Let go of the weights of all blocks but `resident` ones and read them from the folder's files whenever
    they are needed; None where that leaves nothing on disk. `module` is changed.

    Raises `ArtefactError` where the files do not hold the blocks' weights under the module's names.
    """
    _, blocks = blocks_of(module)
    if resident >= len(blocks):
        _widen(module, set(), dtype)
        return None
    files = _stored(folder)
    try:
        return _streamer(module, folder, resident, dtype, files)
    except BaseException:
        for file in {file for file, _ in files.values()}:
            file.close()
        raise


def _streamer(
    module: nn.Module,
    folder: Path,
    resident: int,
    dtype: torch.dtype,
    files: Mapping[str, tuple[DiskFile, Entry]],
) -> Streamer:
    name, blocks = blocks_of(module)
    _settle(module, _rest(module, name, files, dtype))
    _widen(module, {id(p) for block in blocks for p in block.parameters()}, dtype)
    for table in _tables(module):
        looked_up(table.data_ptr(), table.nbytes)
    wanted = [_sources(block, f"{name}.{n}", files, folder, dtype) for n, block in enumerate(blocks)]
    kept = {(2 * place + 1) * len(blocks) // (2 * resident) for place in range(resident)}
    for number in kept:
        _settle(blocks[number], wanted[number])
    left = [number for number in range(len(blocks)) if number not in kept]
    threads = one_thread_for_few(module, dtype)
    opened = {file for file, _ in files.values()}
    return Streamer([blocks[n] for n in left], [wanted[n] for n in left], opened, threads)


class Streamer:
    """Fills buffers in a thread of its own, one block ahead; hooks on the blocks hand the weights over."""

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        sources: Sequence[Mapping[str, Source]],
        files: Collection[DiskFile],
        hooks: Sequence[RemovableHandle] = (),
    ) -> None:
        self._blocks, self._sources, self._files = blocks, sources, files
        self._plans = [plan_of(tensors) for tensors in sources]
        size = max(plan.size for plan in self._plans)
        self._buffers = [_pages(size) for _ in range(min(_BUFFERS, len(blocks)))]
        self._aside = _pages(max(plan.aside for plan in self._plans))
        self._pool = ThreadPoolExecutor(1)
        self._ahead: tuple[int, Future[int]] | None = None
        self._held: dict[int, int] = {}  # buffer to block
        self._hooks = [*hooks] + [
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
        for file in self._files:
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
        _read(self._plans[number], self._sources[number], self._buffers[buffer], self._aside)
        self._held[buffer] = number
        return buffer

    def _attach(self, number: int, buffer: int) -> None:
        _attach(self._blocks[number], self._plans[number], self._sources[number], self._buffers[buffer])

    def _empty(self, number: int) -> None:
        """Tensors of no memory: what computes with them by mistake fails instead of answering."""
        import torch

        tensors = _tensors(self._blocks[number])
        for name, source in self._sources[number].items():
            tensors[name].data = torch.empty(0, dtype=source.held)


def _tables(module: nn.Module) -> list[torch.Tensor]:
    """The weights of embeddings, but for those that a head multiplies with."""
    from torch import nn

    uses = Counter(id(weight) for part in module.modules() for weight in part.parameters(recurse=False))
    tables = [part.weight for part in module.modules() if isinstance(part, nn.Embedding)]
    return [weight for weight in tables if uses[id(weight)] == 1]


def _rest(
    module: nn.Module, blocks: str, files: Mapping[str, tuple[DiskFile, Entry]], dtype: torch.dtype
) -> dict[str, Source]:
    """Where lies what every pass needs beside the blocks: all but tables. What the files have under another
    name is left out."""
    tables = {id(weight) for weight in _tables(module)}
    found: dict[str, Source] = {}
    for name, tensor in _tensors(module).items():
        if name in files and id(tensor) not in tables and not name.startswith(f"{blocks}."):
            source = Source(*files[name], _held(tensor, dtype))
            if source.fits(tensor):
                found[name] = source
    return found


def _settle(part: nn.Module, sources: Mapping[str, Source]) -> None:
    """Read tensors of a module into memory of their own: what is mapped from the file may be dropped, and
    drags along what the system reads ahead."""
    plan = plan_of(sources)
    memory = _pages(plan.size)
    _read(plan, sources, memory, _pages(plan.aside))
    _attach(part, plan, sources, memory)


def _read(plan: Plan, sources: Mapping[str, Source], memory: torch.Tensor, aside: torch.Tensor) -> None:
    for file, runs in groupby(plan.runs, key=lambda run: run.file):
        file.read_all((r.start, _octets(memory[r.place : r.place + r.end - r.start])) for r in runs)
    for name in plan.widened:
        source = sources[name]
        start, end = whole_pages(source.entry.start, source.entry.end)
        source.file.read(start, _octets(aside[: end - start]))
        stored = view_of(aside, source.entry.start - start, source, source.stored)
        view_of(memory, plan.places[name], source, source.held).copy_(stored)


def _attach(part: nn.Module, plan: Plan, sources: Mapping[str, Source], memory: torch.Tensor) -> None:
    tensors = _tensors(part)
    for name, source in sources.items():
        tensors[name].data = view_of(memory, plan.places[name], source, source.held)


def _tensors(block: nn.Module) -> dict[str, torch.Tensor]:
    """What is streamed of a block, by name: its parameters and what its few-bit layers store."""
    found: dict[str, torch.Tensor] = dict(block.named_parameters())
    for name, layer in quantised_layers(block).items():
        buffers = layer.named_buffers(name, recurse=False)
        found |= {place: buffer for place, buffer in buffers if not place.endswith(_KEPT)}
    return found


def _sources(
    block: nn.Module, name: str, files: Mapping[str, tuple[DiskFile, Entry]], folder: Path, dtype: torch.dtype
) -> dict[str, Source]:
    """Where the block's tensors lie. Raises `ArtefactError`."""
    found: dict[str, Source] = {}
    for place, tensor in _tensors(block).items():
        stored = files.get(f"{name}.{place}")
        source = None if stored is None else Source(*stored, _held(tensor, dtype))
        if source is None or not source.fits(tensor):
            raise ArtefactError(
                "the weight files do not hold the layers that are to be streamed",
                got=f"no {name}.{place} of its shape in {folder}",
                allowed="plain safetensors under the module's own names",
                next_step="build the artefact again, or build it without layer-streaming",
            )
        found[place] = source
    return found


def _held(tensor: torch.Tensor, dtype: torch.dtype) -> torch.dtype:
    """Parameters are held in `dtype`, codes and scales as their layer has them."""
    from torch import nn

    return dtype if isinstance(tensor, nn.Parameter) else tensor.dtype


def _stored(folder: Path) -> dict[str, tuple[DiskFile, Entry]]:
    found: dict[str, tuple[DiskFile, Entry]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        file = DiskFile(path)
        found |= {name: (file, entry) for name, entry in read_header(path).entries.items()}
    return found


def _pages(size: int) -> torch.Tensor:
    """uint8, from the beginning of a page on."""
    import torch

    whole = torch.empty(size + PAGE, dtype=torch.uint8)
    first = -whole.data_ptr() % PAGE
    return whole[first : first + size]


def _octets(part: torch.Tensor) -> memoryview:
    return part.numpy().data


def _widen(module: nn.Module, left: set[int], dtype: torch.dtype) -> None:
    """Every weight but those in `left` in the number format of the computation, each as memory of its own."""
    for weight in module.parameters():
        if id(weight) not in left:
            weight.data = weight.data.to(dtype)
    if hasattr(module, "config"):
        module.config.dtype = dtype
