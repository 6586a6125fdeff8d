"""Clauses that several contracts share."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from typing import Any

from tiku.core.hashing import hash_of
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support

__all__ = ["bilingual", "named_after_file", "refusal_explained", "settings_hash", "weights_hash"]


def bilingual(text: Text, where: str, *, name_allowed: bool = False) -> None:
    """Both languages are there; a product's name may be the same in both."""
    assert isinstance(text, Text), f"{where}: expected Text(en, zh), got {type(text).__name__}"
    assert text.en.strip(), f"{where}: the English text is empty"
    chinese = any("\u4e00" <= character <= "\u9fff" for character in text.zh)
    assert chinese or (name_allowed and text.zh == text.en), f"{where}: no Chinese in {text.zh!r}"


def refusal_explained(support: Support, where: str) -> None:
    """A no carries its reason in both languages."""
    assert isinstance(support, Support), f"{where}: supports() must return a Support"
    if not support:
        assert support.reason is not None
        bilingual(support.reason, f"{where}: the reason of the refusal")


def named_after_file(name: str, module: str) -> None:
    """The registered name is the file's name with hyphens."""
    file = module.rpartition(".")[2].replace("_", "-")
    assert name == file, f"{module}: the name {name!r} is not the file's name {file!r}"


def weights_hash(module: Any) -> str:
    """SHA-256 over names, shapes, types and bytes of every weight and buffer."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        bytes_ = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)  # NumPy has no bfloat16
        digest.update(bytes_.numpy().tobytes())
    return digest.hexdigest()


def settings_hash(subject: Subject, leave_out: Iterable[str] = ()) -> str:
    """Hash of every field of the subject except module and processor."""
    skipped = {"module", "processor", *leave_out}
    return hash_of(
        {f.name: getattr(subject, f.name) for f in dataclasses.fields(subject) if f.name not in skipped}
    )
