"""Stable identities: the same content gives the same hash on every machine."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["canonical", "hash_file", "hash_of"]


def canonical(value: Any) -> Any:
    """Reduce dataclasses, mappings, tuples and sets to JSON values with a fixed order."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: canonical(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): canonical(v) for k, v in sorted(value.items(), key=lambda item: str(item[0]))}
    if isinstance(value, list | tuple):
        return [canonical(v) for v in value]
    if isinstance(value, set | frozenset):
        return sorted((canonical(v) for v in value), key=str)
    if isinstance(value, Path):
        return str(value)
    return value


def hash_of(*values: Any) -> str:
    """SHA-256 (64 hex digits) of the canonical JSON of the values."""
    text = json.dumps(
        [canonical(v) for v in values], ensure_ascii=False, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
