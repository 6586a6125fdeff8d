"""How the tensors of a block come from the weight files into one buffer: runs of whole pages, read in one go
each where the tensors lie side by side; what is held in another number format than it is stored in goes by
way of other memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tiku.runtimes._disk_reading import PAGE, DiskFile, whole_pages
from tiku.weightfiles._header import Entry, torch_name

if TYPE_CHECKING:
    import torch

__all__ = ["Plan", "Run", "Source", "plan_of", "view_of"]


@dataclass(frozen=True)
class Source:
    """Where a tensor lies: an open file, the entry of its header, and the number format it is held in."""

    file: DiskFile
    entry: Entry
    held: torch.dtype

    @property
    def stored(self) -> torch.dtype:
        """The number format in the file."""
        import torch

        dtype: torch.dtype = getattr(torch, torch_name(self.entry.dtype))
        return dtype

    @property
    def numbers(self) -> int:
        """How many."""
        return self.entry.bytes // self.stored.itemsize

    def fits(self, tensor: torch.Tensor) -> bool:
        """Whether the file holds that tensor, or floats that can be widened to it."""
        floats = self.stored.is_floating_point and self.held.is_floating_point
        return self.entry.shape == tuple(tensor.shape) and (floats or self.stored == self.held)


@dataclass(frozen=True)
class Run:
    """Whole pages of a file, and where they go in a buffer."""

    file: DiskFile
    start: int
    end: int
    place: int


@dataclass(frozen=True)
class Plan:
    """How a block's tensors come into a buffer of `size` bytes: runs that are read as they are, tensors that
    are widened by way of `aside` bytes elsewhere, and the byte at which each tensor begins."""

    runs: tuple[Run, ...]
    places: Mapping[str, int]
    widened: frozenset[str]
    size: int
    aside: int


def plan_of(sources: Mapping[str, Source]) -> Plan:
    """The plan of one block."""
    widened = {name for name, source in sources.items() if source.stored != source.held}
    runs, places, size = _runs({name: source for name, source in sources.items() if name not in widened})
    for name in sorted(widened):
        places[name] = size
        size += -(-sources[name].numbers * sources[name].held.itemsize // PAGE) * PAGE
    entries = [whole_pages(sources[n].entry.start, sources[n].entry.end) for n in widened]
    return Plan(tuple(runs), places, frozenset(widened), size, max((e - s for s, e in entries), default=0))


def _runs(sources: Mapping[str, Source]) -> tuple[list[Run], dict[str, int], int]:
    """The runs, where each tensor begins, and the bytes of all."""
    runs: list[Run] = []
    places: dict[str, int] = {}
    size = 0
    for name in sorted(sources, key=lambda n: (str(sources[n].file.path), sources[n].entry.start)):
        source = sources[name]
        start, end = whole_pages(source.entry.start, source.entry.end)
        if runs and runs[-1].file is source.file and start <= runs[-1].end:
            runs[-1] = replace(runs[-1], end=max(end, runs[-1].end))
        else:
            runs.append(Run(source.file, start, end, size))
        size = runs[-1].place + runs[-1].end - runs[-1].start
        places[name] = runs[-1].place + source.entry.start - runs[-1].start
    return runs, places, size


def view_of(memory: torch.Tensor, place: int, source: Source, dtype: torch.dtype) -> torch.Tensor:
    """The tensor of that number format which begins at the place."""
    return memory[place : place + source.numbers * dtype.itemsize].view(dtype).view(source.entry.shape)
