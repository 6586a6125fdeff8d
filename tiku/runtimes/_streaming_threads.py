"""How many threads compute while blocks are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tiku.runtimes._compressed_tensors import quantised_layers

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.utils.hooks import RemovableHandle

__all__ = ["one_thread_for_few"]

_FEW = 16  # tokens


def one_thread_for_few(module: nn.Module, dtype: torch.dtype) -> list[RemovableHandle]:
    """Hooks that let few tokens compute with one thread: they wait for the disk, not for the processor, and
    two threads that meet after each small product lose a turn whenever a reader or another process has the
    core of one (8 bits, six processes on two cores: 1.7 to 4 s per token against 0.6 s). None where layers
    widen their weights at each call, or for another format than bfloat16: that is work for all."""
    import torch

    if dtype != torch.bfloat16 or not all(part.per_channel for part in quantised_layers(module).values()):
        return []
    before: list[int] = []

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        ids = kwargs.get("input_ids", args[0] if args else None)
        before.append(torch.get_num_threads())
        if ids is not None and ids.numel() <= _FEW:
            torch.set_num_threads(1)

    def leave(*_: Any) -> None:
        if before and (count := before.pop()) != torch.get_num_threads():
            torch.set_num_threads(count)

    return [
        module.register_forward_pre_hook(enter, with_kwargs=True),
        module.register_forward_hook(leave, always_call=True),
    ]
