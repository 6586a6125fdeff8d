"""Small subjects and data sets for the training tests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.tiny import sentences, write_model
from tiku.core import registry
from tiku.core.data import Splits
from tiku.core.method import Context, Progress, silent
from tiku.core.protocol import Protocol
from tiku.core.subject import Subject
from tiku.data.labelled_texts import LabelledTexts

LABELS = ("bad", "good")


def texts(count: int, seed: int = 0, classes: tuple[str, ...] = LABELS) -> LabelledTexts:
    """Sentences whose words give the class away."""
    rows = sentences(count, seed)
    labels = np.array([LABELS.index(label) for _, label in rows], dtype=np.int64)
    return LabelledTexts("tiny", tuple(text for text, _ in rows), labels, classes)


def tiny_subject(folder: Path, *, labels: tuple[str, ...] = LABELS) -> Subject:
    """An untrained one-layer BERT as the family loads it."""
    write_model(folder, steps=0, labels=labels)
    subject: Subject = registry.get("models", "text-classification").load(
        str(folder), labels=labels, cache=folder
    )
    return subject


def context(workdir: Path, *, seed: int = 0, progress: Progress = silent, data: Any = None) -> Context:
    """One thread, so that the sums are taken in one order on every machine."""
    splits = () if data is None else (Splits("tiny", data, data, data, data, seed=0),)
    return Context(splits, Protocol(seed=seed, threads=1, device="cpu"), workdir, progress)


def weight_hash(module: torch.nn.Module) -> str:
    """SHA-256 over all weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


class Counter:
    """A processor: a text becomes the ids of its letters a … j, and 0 pads."""

    task = "text-classification"
    labels = LABELS

    def encode(self, inputs: Sequence[str], max_length: int | None) -> list[dict[str, list[int]]]:
        return [{"letters": [ord(c) - ord("a") + 1 for c in text][:max_length]} for text in inputs]

    def collate(self, encodings: Sequence[dict[str, list[int]]]) -> dict[str, Any]:
        width = max(len(e["letters"]) for e in encodings)
        rows = [e["letters"] + [0] * (width - len(e["letters"])) for e in encodings]
        return {"letters": np.array(rows, dtype=np.int64)}


class Bag(torch.nn.Module):
    """Sum of letter vectors, a norm, a linear head: everything a hand-written loop can follow."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.embed = torch.nn.Embedding(11, 6, padding_idx=0)
        self.norm = torch.nn.LayerNorm(6)
        self.head = torch.nn.Linear(6, classes)

    def forward(self, letters: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.norm(self.embed(letters).sum(1)))
        return scores


def bag_subject(module: torch.nn.Module | None = None, labels: tuple[str, ...] = LABELS) -> Subject:
    """A subject of the family torch-module."""
    return Subject(
        "text-classification", "torch-module", module or Bag(len(labels)), Counter(), labels=labels
    )


def letters(words: Sequence[str], labels: Sequence[int], classes: tuple[str, ...] = LABELS) -> LabelledTexts:
    """A data set of letter strings."""
    return LabelledTexts("letters", tuple(words), np.array(labels, dtype=np.int64), classes)
