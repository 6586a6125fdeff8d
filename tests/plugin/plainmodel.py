"""A plain torch module and its processor: a bag of words."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

WORDS = 256


class Bag(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.EmbeddingBag(WORDS, 2, mode="sum", padding_idx=0)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.words(input_ids)
        return scores


class Processor:
    task = "text-classification"
    labels = ("bad", "good")

    def encode(self, inputs: Sequence[str], max_length: int | None) -> list[dict[str, list[int]]]:
        ids = ([1 + zlib.crc32(word.encode()) % (WORDS - 1) for word in text.split()] for text in inputs)
        return [{"input_ids": one[:max_length]} for one in ids]

    def collate(self, encodings: Sequence[Mapping[str, list[int]]]) -> dict[str, Any]:
        longest = max(len(one["input_ids"]) for one in encodings)
        rows = [[*one["input_ids"], *[0] * (longest - len(one["input_ids"]))] for one in encodings]
        return {"input_ids": np.asarray(rows, dtype=np.int64)}


def build() -> tuple[Bag, Processor]:
    """Words of praise speak for good, words of blame for bad, nothing else for anything."""
    from tests.tiny import BAD, GOOD

    module, processor = Bag(), Processor()
    with torch.no_grad():
        module.words.weight.zero_()
        for words, label in ((BAD, 0), (GOOD, 1)):
            for [token] in (one["input_ids"] for one in processor.encode(words, None)):
                module.words.weight[token, label] += 1.0
    return module, processor
