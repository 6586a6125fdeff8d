"""A torch session whose repeated blocks are read from disk while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tiku.core.errors import ArtefactError
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
        stored = float_types(folder)
        compute = getattr(torch, options.get("compute") or "float32")
        # In the one format of the files weights are mapped, and those of the blocks never touched.
        module = load_module(folder, task, stored.pop() if len(stored) == 1 else "float32")
        self._streamer = stream(module, folder, options["resident_layers"], compute)
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
