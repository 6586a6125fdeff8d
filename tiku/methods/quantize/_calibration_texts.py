"""The texts that calibration runs on: drawn from the calibration part, without what validation holds too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tiku.core import registry
from tiku.core.data import Dataset, Splits
from tiku.core.errors import DataError
from tiku.core.method import Context
from tiku.core.subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CalibrationTexts", "batches", "choose_texts"]

_TEXTS = ("prose", "choices", "labelled texts")
_COMPARED = 5_000_000  # characters up to which near-duplicates are looked for
_BATCH_TOKENS = 4_096


@dataclass(frozen=True, eq=False)
class CalibrationTexts:
    """One unpadded encoding per text, and what there is to say about them (JSON values)."""

    encodings: Sequence[Mapping[str, list[int]]]
    facts: Mapping[str, Any] = field(default_factory=dict)


def choose_texts(subject: Subject, context: Context, *, tokens: int, window: int) -> CalibrationTexts:
    """Texts of at most `window` tokens, drawn by the seed from every dataset that fits the task until
    `tokens` are reached.

    Texts that validation holds too, exactly or nearly, are left out and counted (methods are not shown
    the test part; splitting has removed what it shared). Raises `DataError` when nothing is left.
    """
    import numpy as np

    found: list[Mapping[str, list[int]]] = []
    facts: dict[str, Any] = {"wanted_tokens": tokens, "left_out_as_they_stand_in_validation": 0}
    suitable = [s for s in context.splits if _suits(subject, s.calibration)]
    for splits in suitable:
        kept, leaked = _without_leaks(splits)
        facts["left_out_as_they_stand_in_validation"] += leaked
        order = np.random.default_rng(context.protocol.seed).permutation(len(kept))
        found += _drawn(subject, kept.take(order), tokens // len(suitable), window)
    total = sum(map(_length, found))
    if not total:
        raise DataError(
            "there is nothing to calibrate on",
            got=", ".join(f"{s.name}: {len(s.calibration)} examples" for s in context.splits) or "no data",
            allowed="a calibration part with texts that validation does not hold too",
            next_step="give more data, or choose a method without calibration (int4-weight-only, hqq)",
        )
    facts |= {"texts": len(found), "tokens": total, "fewer_than_wanted": total < 0.9 * tokens}
    return CalibrationTexts(found, facts)


def batches(
    subject: Subject, texts: CalibrationTexts, most_tokens: int = _BATCH_TOKENS
) -> Iterator[dict[str, NDArray[Any]]]:
    """Padded batches of texts of like length, the longest first."""
    family = registry.get("models", subject.family)
    batch: list[Mapping[str, list[int]]] = []
    for encoding in sorted(texts.encodings, key=_length, reverse=True):
        if batch and (len(batch) + 1) * _length(batch[0]) > most_tokens:
            yield family.collate(subject.processor, batch)
            batch = []
        batch.append(encoding)
    if batch:
        yield family.collate(subject.processor, batch)


def _suits(subject: Subject, data: Dataset) -> bool:
    """Data for the model's task; a language model reads any text."""
    return subject.task in data.tasks or (subject.task == "causal-lm" and data.kind in _TEXTS)


def _drawn(subject: Subject, data: Dataset, tokens: int, window: int) -> Iterator[Mapping[str, list[int]]]:
    """Encodings until the tokens are reached."""
    family = registry.get("models", subject.family)
    inputs, total = _inputs(subject, data, window), 0
    for at in range(0, len(inputs), 64):
        for encoding in family.encode(subject.processor, inputs[at : at + 64], window):
            length = _length(encoding)
            if total >= tokens:
                return
            if length:
                total += length
                yield encoding


def _inputs(subject: Subject, data: Dataset, window: int) -> Sequence[Any]:
    """What is encoded: documents in pieces of about a window, questions with their answers, or texts."""
    worked = getattr(data, "worked", None)
    if worked is not None:
        texts: Sequence[Any] = worked()
        return texts
    cut = getattr(data, "passages", None)
    if cut is None or not len(data):
        return data.inputs()
    pieces: Sequence[Any] = cut(max(1, round(window * _characters_per_token(subject, data, window)))).inputs()
    return pieces


def _characters_per_token(subject: Subject, data: Dataset, window: int) -> float:
    """From the middle of the longest of the first documents, in a sample that no limit cuts."""
    document = max(map(str, data.inputs()[:16]), key=len)
    middle, half = len(document) // 2, max(8, window // 2) // 2
    sample = document[max(0, middle - half) : middle + half]
    encoded = registry.get("models", subject.family).encode(subject.processor, [sample], None)
    return len(sample) / max(1, _length(encoded[0]))


def _length(encoding: Mapping[str, list[int]]) -> int:
    return len(next(iter(encoding.values())))


def _without_leaks(splits: Splits) -> tuple[Dataset, int]:
    """The calibration part without examples that validation holds, and how many those were."""
    from tiku.data.duplicates import near_duplicates

    own, others = splits.calibration.keys(), splits.validation.keys()
    known = set(others)
    leaked = {i for i, key in enumerate(own) if key in known}
    small = sum(map(len, own)) + sum(map(len, others)) <= _COMPARED
    clusters = near_duplicates([*own, *others]) if small and splits.calibration.kind in _TEXTS else None
    if clusters is not None:
        shared = set(clusters[len(own) :].tolist())
        leaked |= {i for i, cluster in enumerate(clusters[: len(own)].tolist()) if cluster in shared}
    return splits.calibration.take([i for i in range(len(own)) if i not in leaked]), len(leaked)
