"""What stands beside an answer: drawings and tables, with their words in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from tiku.core.text import Text
from tiku.report.numbers import Shown

__all__ = ["Exhibit", "Key", "Look", "Matrix", "Plot", "Table"]


@dataclass(frozen=True)
class Look:
    """What a reader of details looks at: an instrument's details of trial `number`, and the base's."""

    key: str
    number: int
    details: Mapping[str, Any]
    base_details: Mapping[str, Any] | None


@dataclass(frozen=True)
class Key:
    """One entry of a legend: a mark ("line", "dash", "dot", "square", "diamond", "box") in a colour."""

    mark: str
    colour: str
    text: Text


@dataclass(frozen=True)
class Plot:
    """`description` says in words what the drawing shows, for readers who cannot see it."""

    svg: Markup
    title: Text
    x: Text | None
    y: Text | None
    description: Text
    keys: tuple[Key, ...] = field(default=())


@dataclass(frozen=True)
class Table:
    """Rows of text cells; `numeric` says which columns are numbers. `wide` columns hold prose."""

    title: Text
    columns: tuple[Text, ...]
    rows: tuple[tuple[str | Text | Shown, ...], ...]
    numeric: frozenset[int] = frozenset()
    wide: frozenset[int] = frozenset()
    note: Text | None = None


@dataclass(frozen=True)
class Matrix:
    """Counts of true (rows) against predicted (columns) classes; `shades` are 0 … 9 per cell."""

    title: Text
    classes: tuple[str, ...]
    counts: tuple[tuple[str, ...], ...]
    shades: tuple[tuple[int, ...], ...]
    note: Text | None = None


Exhibit = Plot | Table | Matrix
