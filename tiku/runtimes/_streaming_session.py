"""A torch session whose repeated blocks are read from disk while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tiku.core.errors import ArtefactError
from tiku.runtimes._compressed_tensors import is_packed
from tiku.runtimes._sixteen_bits import COMPUTE
from tiku.runtimes._streaming import float_types, stream
from tiku.runtimes._torch_loading import load_module
from tiku.runtimes._torch_session import TorchSession

__all__ = ["StreamingSession"]


class StreamingSession(TorchSession):
    """`TorchSession` with `options["resident_layers"]` blocks in memory. Raises `ArtefactError`."""

    def __init__(
        self,
        runtime: str,
        folder: Path,
        task: str,
        options: Mapping[str, Any],
        *,
        threads: int,
        device: str,
    ) -> None:
        import torch

        if device not in ("auto", "cpu"):
            raise ArtefactError(
                "layers are streamed into main memory, not to an accelerator",
                got=device,
                allowed="cpu",
                next_step="open it with --device cpu, or build it without layer-streaming",
            )
        compute = options.get(COMPUTE) or "float32"
        module = load_module(folder, task, _mapped_as(folder, compute))
        self._streamer = stream(module, folder, options["resident_layers"], getattr(torch, compute))
        super().__init__(
            runtime,
            module,
            threads=threads,
            device="cpu",
            cache_format=options.get("cache_format", "fp32"),
            cache_tokens=options.get("cache_tokens", 1024),
        )

    def close(self) -> None:
        if self._streamer is not None:
            self._streamer.close()
        super().close()


def _mapped_as(folder: Path, compute: str) -> str:
    """The number format to load the folder in: that of its files, in which weights are mapped, and those of
    the blocks never touched. Codes keep theirs whatever it is."""
    if is_packed(folder):
        return compute
    stored = float_types(folder)
    return stored.pop() if len(stored) == 1 else "float32"
