"""Items with their labels, and one model's logits on them.

Shape letters: N items, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiku.core.errors import CannotMeasure
from tiku.core.instrument import Workbench
from tiku.core.protocol import Protocol
from tiku.core.subject import Predictor
from tiku.measure.instruments._requests import classified

__all__ = ["Items", "Judged", "judged_items", "noise_floor", "predictions_of"]

_NOISE_ITEMS = 32


@dataclass(frozen=True, eq=False)
class Items:
    """What is judged: inputs (N), class index of each (N,), class names (C), groups (N,) or None."""

    inputs: Sequence[Any]
    truth: NDArray[np.int64]
    classes: tuple[str, ...]
    groups: NDArray[np.int64] | None
    slices: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Judged:
    """A model's logits_NC on the items, in the order of the data's classes."""

    items: Items
    logits: NDArray[np.float32]
    protocol: Protocol

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """Softmax, shape (N, C)."""
        shifted = self.logits.astype(np.float64) - self.logits.max(axis=1, keepdims=True)
        powers = np.exp(shifted)
        result: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return result

    @property
    def chances(self) -> NDArray[np.float64]:
        """What the Brier score reads: of the second of two classes (N,), else of each class (N, C)."""
        table = self.probabilities
        return table[:, 1] if table.shape[1] == 2 else table

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """Class index per item, shape (N,); the first of equal logits."""
        return np.asarray(self.logits.argmax(axis=1), dtype=np.int64)

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        """Softmax output of the predicted class, shape (N,)."""
        return np.asarray(self.probabilities.max(axis=1))

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Whether the prediction is the label, shape (N,)."""
        return np.asarray(self.predicted == self.items.truth)

    @cached_property
    def margins(self) -> NDArray[np.float64]:
        """What ranks the items for each class, shape (N, C): the log-odds of the softmax output.

        Its order is that of the probability, without the ties that rounding near 0 and 1 makes.
        """
        logits = self.logits.astype(np.float64)
        columns = []
        for column in range(logits.shape[1]):
            others = np.delete(logits, column, axis=1)
            top = others.max(axis=1, keepdims=True)
            rest = top[:, 0] + np.log(np.exp(others - top).sum(axis=1))
            columns.append(logits[:, column] - rest)
        return np.stack(columns, axis=1)

    def absent_classes(self) -> list[str]:
        """Classes without an item."""
        counts = np.bincount(self.items.truth, minlength=len(self.items.classes))
        return [name for name, count in zip(self.items.classes, counts, strict=True) if count == 0]


def judged_items(bench: Workbench) -> Items:
    """The split's items, or `protocol.max_items` of them drawn by the protocol's seed."""
    data = classified(bench)
    if data is None:
        raise CannotMeasure(
            "there is no labelled data", got=bench.candidate.task, next_step="give data with labels"
        )
    limit = bench.protocol.max_items
    if limit is not None and len(data) > limit:
        drawn = np.random.default_rng(bench.protocol.seed).choice(len(data), limit, replace=False)
        data = data.take(np.sort(drawn))
    truth = data.targets()
    assert truth is not None
    slices = {name: np.asarray([str(v) for v in values]) for name, values in data.slices().items()}
    return Items(data.inputs(), truth, data.classes(), _group_codes(data.groups()), slices)


def _group_codes(groups: Sequence[Any] | None) -> NDArray[np.int64] | None:
    if groups is None:
        return None
    _, codes = np.unique([str(group) for group in groups], return_inverse=True)
    return codes.astype(np.int64) if 1 < codes.max() + 1 < len(groups) else None


def predictions_of(model: Predictor, items: Items) -> NDArray[np.float32]:
    """logits_NC in the order of the data's classes. Raises `CannotMeasure` on other classes, or NaN."""
    missing = [name for name in items.classes if name not in model.labels]
    if missing:
        raise CannotMeasure(
            "the model does not know a class of the data",
            got=", ".join(missing[:5]),
            allowed=model.labels,
            next_step="map the data's labels to the model's, or train the head on these classes",
        )
    logits = model.predict(items.inputs)[:, [model.labels.index(name) for name in items.classes]]
    if not np.isfinite(logits).all():
        bad = int(np.flatnonzero(~np.isfinite(logits).all(axis=1))[0])
        raise CannotMeasure(
            "the model's output is not finite",
            got=f"item {bad}: {logits[bad].tolist()}",
            next_step="the weights or the number format are broken: try this method with another config",
        )
    return logits


def noise_floor(model: Predictor, items: Items) -> dict[str, Any]:
    """How far the same inputs' logits move between batch size 1 and the model's own batches (padding)."""
    few = items.inputs[:_NOISE_ITEMS]
    together = model.predict(few)
    alone = np.concatenate([model.predict(few[i : i + 1]) for i in range(len(few))])
    return {
        "items": len(few),
        "max_abs_logit_change": float(np.abs(together - alone).max()),
        "label_flips": int((together.argmax(axis=1) != alone.argmax(axis=1)).sum()),
    }
