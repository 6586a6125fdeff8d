"""What a text must be before a model may see it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tiku.core.errors import DataError

__all__ = ["MOST_CHARACTERS", "checked_texts"]

MOST_CHARACTERS = 200_000  # of one example to classify; far beyond any encoder's context
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]")
_SHOWN = 5


def checked_texts(
    values: Sequence[Any], where: Sequence[str], what: str, *, most: int | None = MOST_CHARACTERS
) -> tuple[str, ...]:
    """The values as texts. Raises `DataError`, naming the rows, for a value that is no text, empty,
    too long, or holds control characters or lone surrogates."""
    rows = list(zip(values, where, strict=True))
    one = f"{'an' if what[0] in 'aeiou' else 'a'} {what}"
    _refuse(
        [f"{at} is {type(v).__name__}" for v, at in rows if not isinstance(v, str)],
        f"{one} is not text",
        "text in every row",
        "remove these rows, or name the column that holds the text with --text",
    )
    _refuse(
        [at for v, at in rows if not v.strip()],
        f"{one} is empty",
        "at least one visible character",
        "remove these rows",
    )
    if most is not None:
        _refuse(
            [f"{at}: {len(v):,} characters" for v, at in rows if len(v) > most],
            f"{one} is too long for one example",
            f"up to {most:,} characters",
            "cut it into examples of its own, or look for a quote that never closes",
        )
    _refuse(
        [
            f"{at}: U+{ord(bad[0]):04X} at character {bad.start() + 1}"
            for v, at in rows
            if (bad := _UNPRINTABLE.search(v))
        ],
        f"{one} holds control characters",
        "printable text, tabs and line breaks",
        "remove these characters, for example: tr -d '\\000-\\010\\016-\\037\\177'",
    )
    return tuple(values)


def _refuse(bad: list[str], what: str, allowed: str, next_step: str) -> None:
    if bad:
        more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise DataError(what, got=", ".join(bad[:_SHOWN]) + more, allowed=allowed, next_step=next_step)
