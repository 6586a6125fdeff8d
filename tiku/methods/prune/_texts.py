"""The texts a pruning method looks at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tiku.core.data import Dataset, Splits

__all__ = ["read_texts", "whole_inputs"]


def read_texts(splits: Sequence[Splits]) -> Iterator[str]:
    """Every text of train and calibration as a model would read it, options included.

    Not of validation: what is kept for its texts would look harmless there and cost quality on new ones
    (minilm on reviews: no change on validation, -1.4 points on test).
    """
    for one in splits:
        for data in (one.train, one.calibration):
            for item in whole_inputs(data):
                yield from (item,) if isinstance(item, str) else item


def whole_inputs(data: Dataset) -> Sequence[Any]:
    """The inputs; questions come with each of their options."""
    options = getattr(data, "options", None)
    if options is None:
        return data.inputs()
    delimiter = getattr(data, "delimiter", " ")
    return [
        context + delimiter + option
        for context, own in zip(data.inputs(), options, strict=True)
        for option in own
    ]
