"""When two texts count as the same text; what HTML left in one."""

from __future__ import annotations

import html
import unicodedata

__all__ = ["normal", "unescaped"]


def normal(text: str) -> str:
    """Unicode NFKC, case folded, runs of white space as one space, trimmed."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def unescaped(text: str) -> str:
    """The text with HTML's entities as characters (also "&amp;amp;"), trimmed, hard spaces as spaces."""
    for _ in range(2):
        text = html.unescape(text)
    return text.replace("\xa0", " ").strip()
