"""JSON Lines: one object per line; also a file that is one JSON array of objects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from tiku.core.errors import DataError
from tiku.core.text import Text
from tiku.data.decoding import read_text
from tiku.data.table import Reader, Table

__all__ = ["READER", "JsonLines"]

_OBJECT = '{"text": "…", "label": "…"}'


class JsonLines(Reader):
    """Keys are columns; a key that a line lacks is None there."""

    name: ClassVar[str] = "jsonl"
    title: ClassVar[Text] = Text("JSON Lines", "JSON Lines（每行一个对象）")
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson", ".json")

    def recognises(self, path: Path) -> bool:
        """By suffix."""
        return path.suffix.lower() in self.suffixes

    def read(self, path: Path) -> Table:
        """All objects. Raises `DataError` with the line that does not parse."""
        text = read_text(path)
        if path.suffix.lower() == ".json" and text.lstrip().startswith("["):
            items = _parse(text, path, 1)
            numbered = [(f"item {i + 1}", item) for i, item in enumerate(items)]
        else:
            lines = enumerate(text.split("\n"), 1)
            numbered = [(str(n), _parse(line, path, n)) for n, line in lines if line.strip()]
        return as_table(path.stem, [(f"{path.name}:{n}", item) for n, item in numbered])


def as_table(name: str, items: Sequence[tuple[str, Any]]) -> Table:
    """Objects with their places as a table. Raises `DataError` where one is not an object."""
    for where, item in items:
        if not isinstance(item, Mapping):
            raise DataError(
                "a line is not a JSON object",
                got=f"{where}: {json.dumps(item, ensure_ascii=False)}",
                allowed=_OBJECT,
                next_step="write one object per line",
            )
    if not items:
        raise DataError("the file has no rows", got=name, allowed=_OBJECT, next_step="add an object")
    keys = dict.fromkeys(str(key) for _, item in items for key in item)
    columns = {key: [item.get(key) for _, item in items] for key in keys}
    return Table(name, columns, [where for where, _ in items])


def _parse(text: str, path: Path, line: int) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        at = f"{path.name}, line {line}"
        problem = str(error) or type(error).__name__
        if isinstance(error, json.JSONDecodeError):
            at = f"{path.name}, line {line + error.lineno - 1}, character {error.colno}"
            problem = error.msg
        raise DataError(
            "a line is not valid JSON",
            got=f"{at}: {problem}",
            allowed=f"one object per line: {_OBJECT}",
            next_step="correct this line",
        ) from error


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


READER = JsonLines()
