"""`Table`: what every reader gives. `Reader`: how a kind of file is recognised and read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from tiku.core.data import SplitName
from tiku.core.errors import DataError
from tiku.core.text import Text

__all__ = ["FOLDER", "Reader", "Table", "join"]

FOLDER = "folder"  # the column that says in which folder a document lies


@dataclass(frozen=True)
class Table:
    """Named columns of equal length N. `where[i]` says where row i stands ("reviews.csv:12").

    `class_names` maps a column to the names its integers stand for. `documents` marks running text
    (column "text"), which is never taken for labelled rows. `parts` as in `LoadedData`.
    """

    name: str
    columns: Mapping[str, Sequence[Any]]
    where: Sequence[str]
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    documents: bool = False
    parts: tuple[SplitName, ...] | None = None
    guesses: tuple[Text, ...] = ()

    def __len__(self) -> int:
        return len(self.where)

    def take(self, at: Sequence[int]) -> Table:
        """The rows at these positions, in this order."""
        return replace(
            self,
            columns={name: [values[i] for i in at] for name, values in self.columns.items()},
            where=[self.where[i] for i in at],
            parts=None if self.parts is None else tuple(self.parts[i] for i in at),
        )

    def column(self, name: str) -> Sequence[Any]:
        """A column by name. Raises `KeyError`."""
        return self.columns[name]


class Reader(ABC):
    """A subclass in a file of its own under `tiku/data/readers`, exported as `READER`.

    `rank` orders the readers where several recognise a path; the lowest is asked. `documents` says that
    every file is one document of running text, and not rows.
    """

    name: ClassVar[str]
    title: ClassVar[Text]
    suffixes: ClassVar[tuple[str, ...]]
    rank: ClassVar[int] = 50
    documents: ClassVar[bool] = False

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """Whether this reader reads the file or folder. Looks at names, not at contents."""

    @abstractmethod
    def read(self, path: Path) -> Table:
        """All rows. Raises `DataError`, naming the line."""


def join(tables: Sequence[tuple[str, Table]], name: str) -> Table:
    """The rows of several tables, one after the other, without splits of their own.

    The texts beside them say in errors which is which. Raises `DataError` when their columns differ.
    """
    label, first = tables[0]
    for other, table in tables[1:]:
        if set(table.columns) != set(first.columns):
            raise DataError(
                f"{other} has other columns than {label}",
                got=", ".join(table.columns),
                allowed=first.columns,
                next_step="give every part the same columns",
            )
    return replace(
        first,
        name=name,
        columns={c: [v for _, t in tables for v in t.columns[c]] for c in first.columns},
        where=[w for _, t in tables for w in t.where],
        parts=None,
        guesses=tuple(dict.fromkeys(g for _, t in tables for g in t.guesses)),
    )
