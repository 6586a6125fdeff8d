"""What every family of transformers text models shares: folders, tokenizers, batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiku.core.family import Family
from tiku.core.subject import Subject
from tiku.models import _encoding, _huggingface
from tiku.models._source import resolve_folder
from tiku.models._weights import fingerprint_folder, tensor_dtypes

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TransformersText", "facts_of"]


class TransformersText(Family):
    """A folder or hub id with safetensors and a tokenizer; `recognises` and `load` are the family's own."""

    def fingerprint(self, source: str) -> str:
        return fingerprint_folder(resolve_folder(source))

    def save(self, subject: Subject, folder: Path) -> None:
        _huggingface.save(subject, folder)

    def save_processor(self, subject: Subject, folder: Path) -> None:
        subject.processor.save_pretrained(folder)

    def load_processor(self, folder: Path) -> Any:
        return _huggingface.load_tokenizer(folder)

    def encode(
        self, processor: Any, inputs: Sequence[Any], max_length: int | None
    ) -> list[dict[str, list[int]]]:
        return _encoding.encode(processor, inputs, max_length)

    def collate(
        self, processor: Any, encodings: Sequence[Mapping[str, list[int]]]
    ) -> dict[str, NDArray[Any]]:
        return _encoding.collate(processor, encodings)


def facts_of(module: Any, tokenizer: Any, info: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What the exam records of a loaded model; `info` is what `_huggingface.pretrained` gave beside it."""
    return {
        "architecture": type(module).__name__,
        "parameters": sum(p.numel() for p in module.parameters()),
        "stored_dtypes": tensor_dtypes(folder),
        "max_length": tokenizer.model_max_length,
        "unused_weights": sorted(info["unexpected_keys"]),
    }
