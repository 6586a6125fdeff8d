"""What a runtime tells a reader who has no tiku: Python source that opens the folder and runs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from tiku.core.subject import Numerics

__all__ = ["Standalone"]


@runtime_checkable
class Standalone(Protocol):
    """A runtime whose files can be opened without tiku. The artefact's README prints the source and
    the verifier runs it in a fresh process, so what the README promises is what is verified."""

    def standalone(self, *, task: str, family: str, options: Mapping[str, Any], numerics: Numerics) -> str:
        """Source that defines `open_model(folder)` and `forward(model, inputs)`.

        `folder` is the model folder (str), `inputs` maps names to int64 arrays of shape (batch, tokens),
        and `forward` returns logits (float32): (batch, classes), or (batch, tokens, vocabulary).
        """
        ...
