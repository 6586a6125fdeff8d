"""The INPUT of `tiku predict`: a text, a file of texts, a table, or standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tiku.cli._console import remark
from tiku.core.errors import DataError
from tiku.core.files import user_path
from tiku.core.text import Language

__all__ = ["read_inputs"]

_LINES = ("", ".txt")
_STDIN = "standard input"
_PIPE = "check the path; a text that looks like a path can be piped: echo TEXT | tiku predict ARTEFACT -"


def read_inputs(spec: str, text: str | None, pair: str | None, language: Language | None) -> list[Any]:
    """Texts, or pairs of texts, in order. `language` None keeps guesses unsaid. Raises `DataError`."""
    from tiku.data.decoding import decoded, read_text

    if spec == "-":
        return _lines(decoded(sys.stdin.buffer.read(), _STDIN), _STDIN)
    if not spec.strip():
        raise _empty("the text", spec)
    path = user_path(spec)
    if os.path.isfile(path) and path.suffix.lower() in _LINES:
        return _lines(read_text(path), spec)
    if os.path.exists(path):
        return _from_table(path, text, pair, language)
    if text or pair or _looks_like_path(path, spec):
        raise DataError("there is no such file or folder", got=spec, allowed=_ALLOWED, next_step=_PIPE)
    return _lines(spec, "the text")


_ALLOWED = "a text, a file with one text per line, a CSV, JSONL or Parquet file, or - for standard input"


def _looks_like_path(path: Path, spec: str) -> bool:
    """A word with a folder or a known ending is a mistyped path rather than a text."""
    from tiku.core import registry

    if len(spec.split()) != 1:
        return False
    suffixes = {s for name in registry.names("readers") for s in registry.get("readers", name).suffixes}
    return os.sep in spec or path.suffix.lower() in suffixes


def _lines(text: str, name: str) -> list[Any]:
    """One input per line; an empty line is an input too, so that line i of the output answers line i."""
    if not text.strip():
        raise _empty(name, text)
    return list(text.removesuffix("\n").split("\n"))


def _empty(name: str, text: str) -> DataError:
    return DataError(
        f"{name} is empty",
        got=f"{len(text)} characters",
        allowed=_ALLOWED,
        next_step="give at least one text",
    )


def _from_table(path: Path, text: str | None, pair: str | None, language: Language | None) -> list[Any]:
    from tiku.data.columns import Columns, guess_text, text_pair
    from tiku.data.loading import read_table

    table = read_table(path)
    Columns(text=text, text_pair=pair).check(table)
    if text is None and pair is None and (both := text_pair(table)):
        text, pair = both
    if text is None and (guessed := guess_text(table, [pair])):
        text = guessed[0]
        if language:
            remark(guessed[1][language])
    if text is None:
        raise DataError(
            "no column holds texts", got=path, allowed=table.columns, next_step="name it: --text COLUMN"
        )
    firsts = _texts(table.columns[text], table.where, text)
    if pair is None:
        return firsts
    return list(zip(firsts, _texts(table.columns[pair], table.where, pair), strict=True))


def _texts(values: Sequence[Any], where: Sequence[str], column: str) -> list[Any]:
    bad = next((i for i, value in enumerate(values) if not isinstance(value, str)), None)
    if bad is not None:
        raise DataError(
            f"the column {column} does not hold a text in every row",
            got=f"{where[bad]}: {values[bad]!r}",
            allowed="texts",
            next_step="name the column of texts with --text, or remove this row",
        )
    return list(values)
