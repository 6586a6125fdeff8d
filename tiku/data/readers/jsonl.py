"""JSON Lines: one object per line. A .json file may also be one array of objects, one object of columns,
or one object that holds the array."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
        if path.suffix.lower() == ".json" and (whole := _whole(text, path)) is not None:
            items, guesses = _records(whole, path)
            numbered = [(f"item {i + 1}", item) for i, item in enumerate(items)]
        else:
            lines, guesses = enumerate(text.split("\n"), 1), ()
            numbered = [(str(n), _parse(line, path, n)) for n, line in lines if line.strip()]
        table = as_table(path.stem, [(f"{path.name}:{n}", item) for n, item in numbered])
        return replace(table, guesses=guesses)


def _whole(text: str, path: Path) -> Any:
    """The one value that the file is, or None where it holds one object per line."""
    if text.lstrip().startswith("["):
        return _parse(text, path, 1)
    if text.lstrip().startswith("{"):
        first, _, rest = text.lstrip().partition("\n")
        try:
            json.loads(first)
        except (ValueError, RecursionError):  # an object over several lines
            return _parse(text, path, 1)
        return None if rest.strip() else _parse(text, path, 1)
    return None


def _records(whole: Any, path: Path) -> tuple[list[Any], tuple[Text, ...]]:
    """The rows of one JSON value, and what was guessed."""
    if isinstance(whole, list):
        return whole, ()
    values = list(whole.values())
    lists = {key: v for key, v in whole.items() if isinstance(v, list) and v and isinstance(v[0], Mapping)}
    if len(lists) == 1:
        key = next(iter(lists))
        note = Text(f'{path.name}: rows are taken from "{key}"', f"{path.name}：取“{key}”中的行")
        return lists[key], (note,)
    tables = all(isinstance(v, list | Mapping) for v in values) and len({len(v) for v in values}) == 1
    if tables and len(values) > 1:
        columns = [list(v.values()) if isinstance(v, Mapping) else v for v in values]
        note = Text(f"{path.name}: every key is a column", f"{path.name}：每个键为一列")
        return [dict(zip(whole, row, strict=True)) for row in zip(*columns, strict=True)], (note,)
    return [whole], ()


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
