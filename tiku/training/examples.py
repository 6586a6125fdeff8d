"""Labelled examples, encoded once; batches of tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tiku.core import registry
from tiku.core.data import Dataset
from tiku.core.errors import DataError
from tiku.core.family import Family
from tiku.core.subject import Subject

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

__all__ = ["Examples", "encode_examples"]


@dataclass(frozen=True)
class Examples:
    """N unpadded encodings with class indices (int64, shape N) and their lengths in tokens."""

    encodings: Sequence[Mapping[str, list[int]]]
    targets: NDArray[np.int64]
    lengths: Sequence[int]
    collate: Callable[[Sequence[Mapping[str, list[int]]]], dict[str, NDArray[Any]]]

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(
        self, positions: NDArray[np.int64], device: str
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """(the module's keyword arguments, targets_B)."""
        import torch

        arrays = self.collate([self.encodings[i] for i in positions])
        inputs = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
        return inputs, torch.from_numpy(self.targets[positions]).to(device)


def encode_examples(subject: Subject, data: Dataset, max_length: int) -> Examples:
    """Encode with the subject's family. Raises `DataError` for labels that the model has no class for."""
    targets = _checked_targets(subject, data)
    family: Family = registry.get("models", subject.family)
    encodings = family.encode(subject.processor, data.inputs(), max_length)
    lengths = [max(len(values) for values in encoding.values()) for encoding in encodings]
    return Examples(encodings, targets, lengths, partial(family.collate, subject.processor))


def _checked_targets(subject: Subject, data: Dataset) -> NDArray[np.int64]:
    targets = data.targets()
    if len(data) == 0:
        raise DataError(
            "there is nothing to train on", got=f"{data.name}: 0 examples", next_step="add examples"
        )
    if targets is None:
        raise DataError(
            "the examples carry no labels",
            got=f"{data.name}: {data.kind}",
            allowed="examples with one class each",
            next_step="name the label column",
        )
    known, classes = subject.labels, data.classes()
    if known and classes and known != classes:
        raise DataError(
            "the data's classes are not the model's, in the model's order",
            got=f"{data.name}: {', '.join(classes)}",
            allowed=known,
            next_step="load the model with the labels of this data",
        )
    count = len(known or classes)
    outside = targets[(targets < 0) | (targets >= count)]
    if outside.size:
        raise DataError(
            "a label is out of range",
            got=f"{data.name}: class index {outside[0]} ({outside.size} of {len(targets)} examples)",
            allowed=f"0 … {count - 1}",
            next_step="map the labels to the model's classes",
        )
    return targets
