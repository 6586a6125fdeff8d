"""The guard behind every change of number format: a model that answers garbage goes no further."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tiku.core import registry
from tiku.core.data import Dataset
from tiku.core.drift import drift
from tiku.core.method import Context
from tiku.core.subject import Subject

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["guarded"]

_TEXTS, _PROSE_TEXTS, _TOKENS = 32, 4, 64  # logits of a vocabulary are large
_READ_BY_LANGUAGE_MODELS = ("prose", "labelled texts")


def guarded(before: Subject, after: Subject, context: Context) -> Subject:
    """`after` with `facts["away_from_before"]`: how far its answers are from those it gave before its number
    format was changed, on calibration texts; a language model without any writes one itself.

    Raises `ModelError` where it is as far away as a model that answers the same everywhere. Formats that
    only the runtime carries out leave the module alone; the runtime checks those.
    """
    if after.numerics == before.numerics or after.module is before.module:
        return after
    batch = _batch(before, context)
    if batch is None:
        found: dict[str, Any] = {"not_measured": "no calibration texts for this task"}
    else:
        own, got = (_answers(one, batch) for one in (before, after))
        found = drift(own, got, after.numerics.scheme)
    return replace(after, facts={**after.facts, "away_from_before": found})


def _batch(subject: Subject, context: Context) -> Mapping[str, NDArray[Any]] | None:
    family = registry.get("models", subject.family)
    for splits in context.splits:
        if _suits(subject, splits.calibration):
            encodings = family.encode(
                subject.processor,
                _first(splits.calibration, _PROSE_TEXTS if subject.task == "causal-lm" else _TEXTS),
                _TOKENS,
            )
            whole = [one for one in encodings if len(next(iter(one.values()))) > 0]
            if whole:
                found: Mapping[str, NDArray[Any]] = family.collate(subject.processor, whole)
                return found
    if subject.task != "causal-lm":
        return None
    from tiku.runtimes._drift import own_text

    return {"input_ids": own_text(subject.module).numpy()}


def _suits(subject: Subject, data: Dataset) -> bool:
    texts = subject.task == "causal-lm" and data.kind in _READ_BY_LANGUAGE_MODELS
    return len(data) > 0 and (subject.task in data.tasks or texts)


def _first(data: Dataset, count: int) -> Sequence[Any]:
    return data.take(list(range(min(count, len(data))))).inputs()


def _answers(subject: Subject, batch: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """Logits, one row per text or, for a language model, per token that is no padding."""
    import torch

    with torch.inference_mode():
        output = subject.module(**{name: torch.from_numpy(array) for name, array in batch.items()})
    logits: NDArray[np.float32] = getattr(output, "logits", output).float().numpy()
    if subject.task != "causal-lm":
        return logits
    mask = batch.get("attention_mask")
    return logits.reshape(-1, logits.shape[-1]) if mask is None else logits[mask.astype(bool)]
