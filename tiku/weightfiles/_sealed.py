"""A JSON value in a safetensors file's text fields, with the digest that tells whether it is whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tiku.weightfiles._header import Header, damaged

__all__ = ["is_sealed", "sealed", "unsealed"]

_DIGEST = "sha256"


def sealed(key: str, value: Any) -> dict[str, str]:
    """The text fields that hold `value` under `key`."""
    text = json.dumps(value, separators=(",", ":"))
    return {key: text, _DIGEST: hashlib.sha256(text.encode()).hexdigest()}


def is_sealed(key: str, header: Header) -> bool:
    """Whether the file says that it holds such a value."""
    return key in header.metadata


def unsealed(key: str, path: Path, header: Header) -> Any:
    """The value. Raises `ModelError` where it is missing or changed."""
    text = header.metadata.get(key)
    if text is None or set(header.metadata) != {key, _DIGEST}:
        raise damaged(path, f"it lacks the list {key}")
    if hashlib.sha256(text.encode()).hexdigest() != header.metadata[_DIGEST]:
        raise damaged(path, f"the list {key} does not have the digest it was written with")
    return json.loads(text)
