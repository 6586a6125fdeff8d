"""Texts and pairs of texts to token ids, and encodings to padded batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tiku.core.errors import DataError, ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NO_LIMIT", "collate", "encode"]

NO_LIMIT = 1_000_000  # tokens; transformers says 10^30, which its tokenizers cannot count to
_ENCODE_BATCH = 1024


def encode(tokenizer: Any, inputs: Sequence[Any], max_length: int | None) -> list[dict[str, list[int]]]:
    """One unpadded encoding per text or pair of texts, cut to `max_length` tokens (None: the model's own
    limit); of a pair the longer text is cut first."""
    firsts, seconds = _texts(inputs)
    own = min(tokenizer.model_max_length, NO_LIMIT)
    limit = own if max_length is None else min(max_length, own)
    smallest = tokenizer.num_special_tokens_to_add(pair=seconds is not None) + (1 if seconds is None else 2)
    if limit < smallest:
        raise ModelError(
            "max_length leaves no room for text",
            got=limit,
            allowed=f"{smallest} … {own}",
            next_step="raise max_length",
        )
    encodings: list[dict[str, list[int]]] = []
    for start in range(0, len(inputs), _ENCODE_BATCH):
        part = slice(start, start + _ENCODE_BATCH)
        batch = [texts[part] for texts in (firsts, seconds) if texts is not None]
        columns = tokenizer(*batch, truncation="longest_first", max_length=limit, padding=False)
        encodings += [{name: list(columns[name][i]) for name in columns} for i in range(len(batch[0]))]
    return encodings


def _texts(inputs: Sequence[Any]) -> tuple[list[str], list[str] | None]:
    """The inputs as texts, or as first and second texts. Raises `DataError` for anything else."""
    pairs = bool(inputs) and not isinstance(inputs[0], str)
    for position, item in enumerate(inputs):
        parts = item if pairs and isinstance(item, tuple | list) and len(item) == 2 else (item,)
        if len(parts) != 1 + pairs or not all(isinstance(part, str) for part in parts):
            raise DataError(
                "an input is not text",
                got=f"input {position}: {type(item).__name__}",
                allowed="strings, or pairs of strings in every row",
                next_step="choose the column that holds the text",
            )
    if not pairs:
        return list(inputs), None
    return [first for first, _ in inputs], [second for _, second in inputs]


def collate(
    tokenizer: Any, encodings: Sequence[Mapping[str, list[int]]], *, width: int | None = None
) -> dict[str, NDArray[Any]]:
    """int64 arrays of shape (batch, longest or `width`), padded on the tokenizer's side."""
    import numpy as np

    fill = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
    width = width or max(len(encoding["input_ids"]) for encoding in encodings)
    left = tokenizer.padding_side == "left"
    batch: dict[str, NDArray[Any]] = {}
    for name in encodings[0]:
        batch[name] = np.full((len(encodings), width), fill.get(name, 0), dtype=np.int64)
        for row, encoding in enumerate(encodings):
            length = len(encoding[name])
            batch[name][row, width - length if left else 0 : width if left else length] = encoding[name]
    return batch
