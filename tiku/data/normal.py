"""When two texts count as the same text."""

from __future__ import annotations

import unicodedata

__all__ = ["normal"]


def normal(text: str) -> str:
    """Unicode NFKC, case folded, runs of white space as one space, trimmed."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
