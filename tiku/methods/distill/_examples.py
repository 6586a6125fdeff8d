"""Examples that a student learns from: labelled texts, or pieces of running text."""

from __future__ import annotations

from functools import partial
from itertools import accumulate

from tiku.core import registry
from tiku.core.data import Dataset
from tiku.core.errors import DataError
from tiku.core.family import Family
from tiku.core.method import Context
from tiku.core.subject import Subject
from tiku.methods.prune._calibration import encoded, spread
from tiku.training.examples import Examples, encode_examples

__all__ = ["training_examples", "validation_examples"]

_SHORTEST = 4  # tokens that any text has, markers included: so many texts suffice for so many tokens


def training_examples(subject: Subject, context: Context, tokens: int, max_length: int) -> Examples:
    """About `tokens` tokens of the train parts, evenly spread; all of them where there are fewer.

    Raises `DataError` where there is nothing to learn from.
    """
    return _examples(subject, [s.train for s in context.splits], tokens, max_length)


def validation_examples(subject: Subject, context: Context, tokens: int, max_length: int) -> Examples | None:
    """Texts the curve is drawn on; None where there are none."""
    parts = [s.validation for s in context.splits if len(s.validation)]
    return _examples(subject, parts, tokens, max_length) if parts else None


def _examples(subject: Subject, parts: list[Dataset], tokens: int, max_length: int) -> Examples:
    if subject.task != "causal-lm":
        return _labelled(subject, parts, tokens, max_length)
    import numpy as np

    found = [e for data in parts for e, _ in encoded(subject, data, tokens // len(parts), max_length)]
    if not found:
        raise _nothing("texts", parts)
    family: Family = registry.get("models", subject.family)
    lengths = [len(encoding["input_ids"]) for encoding in found]
    collate = partial(family.collate, subject.processor)
    return Examples(found, np.zeros(len(found), dtype=np.int64), lengths, collate)


def _labelled(subject: Subject, parts: list[Dataset], tokens: int, max_length: int) -> Examples:
    data = next((part for part in parts if subject.task in part.tasks), None)
    if data is None:
        raise _nothing("labelled texts", parts)
    some = encode_examples(subject, data.take(spread(len(data), tokens // _SHORTEST)), max_length)
    count = sum(
        total - own < tokens for total, own in zip(accumulate(some.lengths), some.lengths, strict=True)
    )
    return Examples(some.encodings[:count], some.targets[:count], some.lengths[:count], some.collate)


def _nothing(wanted: str, parts: list[Dataset]) -> DataError:
    return DataError(
        f"there are no {wanted} for the student to learn from",
        got=", ".join(f"{part.name}: {len(part)} × {part.kind}" for part in parts) or "no data",
        allowed=wanted,
        next_step="give data with more texts",
    )
