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

__all__ = ["Reader", "Table", "join"]


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

    def column(self, name: str) -> Sequence[Any]:
        """A column by name. Raises `KeyError`."""
        return self.columns[name]


class Reader(ABC):
    """A subclass in a file of its own under `tiku/data/readers`, exported as `READER`.

    `rank` orders the readers where several recognise a path; the lowest is asked.
    """

    name: ClassVar[str]
    title: ClassVar[Text]
    suffixes: ClassVar[tuple[str, ...]]
    rank: ClassVar[int] = 50

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """Whether this reader reads the file or folder. Looks at names, not at contents."""

    @abstractmethod
    def read(self, path: Path) -> Table:
        """All rows. Raises `DataError`, naming the line."""


def join(tables: Sequence[tuple[SplitName, Table]], name: str) -> Table:
    """The tables of one dataset's splits as one. Raises `DataError` when their columns differ."""
    first = tables[0][1]
    for part, table in tables[1:]:
        if set(table.columns) != set(first.columns):
            raise DataError(
                f"the {part} split has other columns than the {tables[0][0]} split",
                got=", ".join(table.columns),
                allowed=first.columns,
                next_step="give every split the same columns",
            )
    return replace(
        first,
        name=name,
        columns={c: [v for _, t in tables for v in t.columns[c]] for c in first.columns},
        where=[w for _, t in tables for w in t.where],
        parts=tuple(part for part, t in tables for _ in range(len(t))),
        guesses=tuple(dict.fromkeys(g for _, t in tables for g in t.guesses)),
    )
