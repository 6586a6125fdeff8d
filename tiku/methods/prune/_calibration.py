"""Calibration batches on which importance is judged.

B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiku.core import registry
from tiku.core.data import Dataset
from tiku.core.errors import DataError
from tiku.core.family import Family
from tiku.core.method import Context
from tiku.core.subject import Subject
from tiku.data.prose import Prose
from tiku.methods.prune._texts import whole_inputs
from tiku.training.sampler import plan_epoch

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

__all__ = ["Batch", "calibration_batches", "encoded", "spread"]

_BATCH_TOKENS = 1024  # a language model's logits of a batch, with gradients, stay below a gigabyte
_ENCODED = 64  # examples encoded at once
_CHARACTERS_PER_TOKEN = 4  # of a piece of running text: about as long as the cut that follows


@dataclass(frozen=True)
class Batch:
    """The module's keyword arguments, the mask of real tokens (B, T), and class indices (B) or None."""

    inputs: Mapping[str, torch.Tensor]
    mask_BT: torch.Tensor
    targets_B: torch.Tensor | None


def calibration_batches(subject: Subject, context: Context, *, tokens: int, max_length: int) -> list[Batch]:
    """About `tokens` tokens of the calibration parts (of train where one is empty), evenly spread.

    Raises `DataError` when there are no texts.
    """
    parts = [s.calibration if len(s.calibration) else s.train for s in context.splits]
    found: list[tuple[Mapping[str, list[int]], int | None]] = []
    for data in parts:
        found += encoded(subject, data, tokens // len(parts), max_length)
    if not found:
        raise DataError(
            "there are no calibration texts to judge the parts of the model by",
            got="0 texts",
            allowed="one text or more",
            next_step="give data with texts",
        )
    seed = context.protocol.seed % 2**32
    plan = plan_epoch([len(e["input_ids"]) for e, _ in found], _BATCH_TOKENS, seed, 0)
    return [_batch(subject, [found[i] for i in positions]) for positions in plan]


def _pieces(subject: Subject, data: Dataset, max_length: int) -> Dataset:
    """The data as a model of `max_length` tokens can read them on: running text in pieces."""
    if subject.task == "causal-lm" and isinstance(data, Prose):
        return data.passages(_CHARACTERS_PER_TOKEN * max_length)
    return data


def encoded(
    subject: Subject, data: Dataset, tokens: int, max_length: int
) -> list[tuple[Mapping[str, list[int]], int | None]]:
    """About `tokens` tokens as encodings, each with its class where the data's classes are the model's."""
    family: Family = registry.get("models", subject.family)
    data = _pieces(subject, data, max_length)
    some = data.take(spread(len(data), tokens))
    known = subject.labels and subject.labels == some.classes()
    targets = some.targets() if known else None
    kept: list[tuple[Mapping[str, list[int]], int | None]] = []
    total = start = 0
    while total < tokens and start < len(some):
        batch = some.take(range(start, min(start + _ENCODED, len(some))))
        for i, encoding in enumerate(family.encode(subject.processor, whole_inputs(batch), max_length)):
            length = len(encoding["input_ids"])
            if length > 1 and total < tokens:  # a single token predicts nothing
                kept.append((encoding, None if targets is None else int(targets[start + i])))
                total += length
        start += _ENCODED
    return kept


def spread(size: int, count: int) -> NDArray[np.int64]:
    """At most `count` positions in a fixed order that is spread over the whole from the start."""
    import numpy as np

    return np.random.default_rng(0).permutation(size)[:count]


def _batch(subject: Subject, members: Sequence[tuple[Mapping[str, list[int]], int | None]]) -> Batch:
    import torch

    family: Family = registry.get("models", subject.family)
    arrays: Mapping[str, Any] = family.collate(subject.processor, [encoding for encoding, _ in members])
    inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
    mask = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"])).bool()
    classes = [label for _, label in members if label is not None]
    return Batch(inputs, mask, torch.tensor(classes) if len(classes) == len(members) else None)
