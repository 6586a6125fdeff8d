"""The contract of a model family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tiku.core import registry
from tiku.core.errors import ModelError
from tiku.core.family import Family
from tiku.testing.clauses import bilingual, named_after_file, weights_hash

__all__ = ["check_family"]


def check_family(family: Family, source: str, inputs: Sequence[Any], workdir: Path) -> None:
    """Load `source`, encode `inputs`, save and load again. `workdir` must exist and is written to."""
    where = f"family {family.name}"
    named_after_file(family.name, type(family).__module__)
    bilingual(family.title, f"{where}.title")
    assert family.data_kinds, f"{where} names no kind of data"
    assert family.recognises(source), f"{where} does not recognise {source}"
    assert not family.recognises(str(workdir)), f"{where} recognises an empty folder"
    _check_refuses_empty(family, where, workdir)
    subject = family.load(source, cache=workdir)
    assert subject.module.training is False, f"{where}: the module is not in eval mode"
    assert family.fingerprint(source) == family.fingerprint(source), f"{where}: the fingerprint wanders"
    again = family.load(source, cache=workdir)
    assert weights_hash(again.module) == weights_hash(subject.module), f"{where}: one seed, two models"
    family = registry.get("models", subject.family)  # a module of one's own may turn out a transformers model
    _check_encoding(family, where, subject.processor, inputs)
    family.save(subject, workdir / "saved")
    assert any((workdir / "saved").iterdir()), f"{where} saved nothing"
    family.save_processor(subject, workdir / "processor")
    processor = family.load_processor(workdir / "processor")
    assert family.encode(processor, inputs, None) == family.encode(subject.processor, inputs, None), (
        f"{where}: the saved processor encodes differently"
    )


def _check_refuses_empty(family: Family, where: str, workdir: Path) -> None:
    try:
        family.load(str(workdir), cache=workdir)
    except ModelError as error:
        assert error.next_step, f"{where}: the error for an empty folder has no next step"
    else:
        raise AssertionError(f"{where} loads an empty folder")


def _check_encoding(family: Family, where: str, processor: Any, inputs: Sequence[Any]) -> None:
    encodings = family.encode(processor, inputs, None)
    assert len(encodings) == len(inputs), f"{where}: {len(encodings)} encodings of {len(inputs)} inputs"
    assert family.encode(processor, [], None) == [], f"{where}: no inputs give encodings"
    batch = family.collate(processor, encodings)
    assert set(batch) == set(encodings[0]), f"{where}: the batch has other names than the encodings"
    for name, array in batch.items():
        longest = max(len(encoding[name]) for encoding in encodings)
        assert array.shape[:2] == (len(inputs), longest), f"{where}: {name} has shape {array.shape}"
