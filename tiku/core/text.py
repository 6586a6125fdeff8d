"""Text in both languages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Language", "Text"]

Language = Literal["en", "zh"]


@dataclass(frozen=True)
class Text:
    """One statement in English and Chinese; both are always there."""

    en: str
    zh: str

    def __getitem__(self, language: Language) -> str:
        return self.zh if language == "zh" else self.en
