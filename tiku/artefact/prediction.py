"""Predictions for people: labels and probabilities, or continued text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tiku.artefact.predictor import OpenedArtefact, open_artefact

__all__ = ["Prediction", "predict", "predictions"]


@dataclass(frozen=True)
class Prediction:
    """One answer: the `label` with the softmax output of each class, or the continued `text`.

    The softmax output is the model's own score; it is a probability only as far as it is calibrated.
    """

    label: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    text: str | None = None


def predict(
    folder: Path | str,
    inputs: Sequence[Any],
    *,
    max_tokens: int = 64,
    threads: int | None = None,
    device: str = "auto",
) -> list[Prediction]:
    """Open an artefact, answer the inputs in order, close it. Raises `ArtefactError`, `DataError`."""
    opened = open_artefact(folder, threads=threads, device=device)
    try:
        return predictions(opened, inputs, max_tokens=max_tokens)
    finally:
        opened.close()


def predictions(opened: OpenedArtefact, inputs: Sequence[Any], *, max_tokens: int = 64) -> list[Prediction]:
    """The same with an artefact that is open already."""
    if opened.task == "causal-lm":
        return [Prediction(text=text) for text in opened.generate(inputs, max_tokens)]
    from scipy.special import softmax

    rows = softmax(opened.predict(inputs).astype("float64"), axis=1) if len(inputs) else []
    names = opened.labels
    return [
        Prediction(names[int(row.argmax())], dict(zip(names, map(float, row), strict=True))) for row in rows
    ]
