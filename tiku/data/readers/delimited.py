"""CSV and TSV (RFC 4180, with the delimiter and the quoting found out and reported)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from tiku.core.errors import DataError
from tiku.core.text import Text
from tiku.data.decoding import read_text
from tiku.data.table import Reader, Table

__all__ = ["READER", "Delimited"]

_DELIMITERS = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}
_LOOKED_AT, _SAMPLED = 100_000, 20  # characters and rows that show the delimiter
_MOST_CLASSES = 1000
_LONGEST_FIELD = 1_000_000  # characters; a longer field is nearly always a quote that never closes


class Delimited(Reader):
    """A header row, then rows with as many fields as the header."""

    name: ClassVar[str] = "delimited"
    title: ClassVar[Text] = Text("CSV and TSV", "CSV 与 TSV")
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".tab")

    def recognises(self, path: Path) -> bool:
        """By suffix."""
        return path.suffix.lower() in self.suffixes

    def read(self, path: Path) -> Table:
        """All rows. Raises `DataError` for ragged rows, open quotes, a missing or doubled header."""
        text = read_text(path)
        delimiter = _delimiter(path, text)
        quoted = delimiter != "\t" or _quotes_are_meant(text)
        header, rows, lines = _rows(path, text, delimiter, quoted)
        _refuse_headless(path, header, rows)
        columns = {name: [row[i] for row in rows] for i, name in enumerate(header)}
        where = [f"{path.name}:{line}" for line in lines]
        return Table(path.stem, columns, where, guesses=_dialect_guesses(path, delimiter, quoted))


def _delimiter(path: Path, text: str) -> str:
    """The commonest in the header; in a tab-separated file another one only where it divides every row."""
    lines = [line for line in text[:_LOOKED_AT].split("\n") if line][:_SAMPLED]
    names = re.sub('"[^"]*"', "", lines[0])  # a name in quotes may hold anything
    counts = {d: names.count(d) for d in (",", ";", "\t", "|")}
    if path.suffix.lower() in (".tsv", ".tab"):
        others = {d: n for d, n in counts.items() if n and all(line.count(d) >= n for line in lines)}
        return "\t" if counts["\t"] or not others else max(others, key=lambda d: others[d])
    return max(counts, key=lambda d: counts[d])


def _quotes_are_meant(text: str) -> bool:
    """Tab-separated files often carry bare quotes. RFC quoting holds if every field that opens with a
    quote closes with one, or if the rows come out even only so."""
    fields = (field for line in text.split("\n") for field in line.split("\t"))
    if all(len(f) > 1 and f.endswith('"') for f in fields if f.startswith('"')):
        return True
    return not _even(text, csv.QUOTE_NONE) and _even(text, csv.QUOTE_MINIMAL)


def _even(text: str, quoting: Literal[0, 3]) -> bool:
    """Whether all rows of tab-separated text have the same number of fields, two or more."""
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t", quoting=quoting, strict=True)
    try:
        widths = {len(row) for row in reader if row}
    except csv.Error:
        return False
    return len(widths) == 1 and min(widths) > 1


def _rows(
    path: Path, text: str, delimiter: str, quoted: bool
) -> tuple[list[str], list[list[str]], list[int]]:
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=True,
    )
    rows: list[list[str]] = []
    lines: list[int] = []
    header: list[str] | None = None
    start = 1
    try:
        for row in reader:
            if row and header is None:
                header = _header(path, row)
            elif row and header is not None:
                _check_width(path, row, header, start)
                rows.append(row)
                lines.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            "the rows cannot be read",
            got=f"{path.name}, row starting at line {start}: {error}",
            allowed=f'fields up to {_LONGEST_FIELD:,} characters; quotes inside a quoted field doubled ("")',
            next_step="close the open quote, or save the data as JSONL",
        ) from error
    if header is None or not rows:
        raise DataError(
            "the file has a header and no rows",
            got=path.name,
            allowed="a header row and at least one row below it",
            next_step="add rows, or a header if the first row is data",
        )
    return header, rows, lines


def _header(path: Path, row: Sequence[str]) -> list[str]:
    names = [name.strip() or f"column {i + 1}" for i, name in enumerate(row)]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise DataError(
            "the header names a column twice",
            got=f"{path.name}: {', '.join(doubled)}",
            allowed="different names",
            next_step="rename one of the columns",
        )
    return names


def _refuse_headless(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A column whose name is one of its few values has none: the first row is data."""
    again = list(header) in rows
    for i, name in enumerate(header):
        values = {row[i] for row in rows}
        few = len(values) <= max(2, min(_MOST_CLASSES, len(rows) // 3))
        if name in values and (few or again):
            raise DataError(
                "the first row looks like data and not like a header, or the header stands in the file twice",
                got=f"{path.name}: column {i + 1} is named {name} and holds {name}",
                allowed="one header row with the names of the columns",
                next_step="add the line text,label (or the names that fit) at the top",
            )


def _check_width(path: Path, row: Sequence[str], header: Sequence[str], line: int) -> None:
    if len(row) != len(header):
        raise DataError(
            "a row has another number of fields than the header",
            got=f"{path.name}, line {line}: {len(row)} fields",
            allowed=f"{len(header)} fields: {', '.join(header)}",
            next_step="put quotes around fields that hold the delimiter or a line break",
        )


def _dialect_guesses(path: Path, delimiter: str, quoted: bool) -> tuple[Text, ...]:
    usual = {".csv": ",", ".tsv": "\t", ".tab": "\t"}[path.suffix.lower()]
    found = []
    if delimiter != usual:
        name = _DELIMITERS[delimiter]
        found.append(
            Text(f"{path.name}: fields are separated by {name}", f"{path.name}：字段分隔符为 {name}")
        )
    if not quoted:
        found.append(
            Text(
                f"{path.name}: quotation marks are plain characters, because they do not pair up",
                f"{path.name}：引号不成对，按普通字符处理",
            )
        )
    return tuple(found)


READER = Delimited()
