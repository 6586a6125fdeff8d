"""What stands beside an answer: drawings and tables, with their words in both languages."""

from __future__ import annotations

from dataclasses import dataclass, field

from markupsafe import Markup

from tiku.core.text import Text

__all__ = ["Exhibit", "Key", "Matrix", "Plot", "Table"]


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
    rows: tuple[tuple[str | Text, ...], ...]
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
