"""Apache Parquet through pyarrow."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from tiku.core.errors import DataError
from tiku.core.text import Text
from tiku.data.arrow import from_arrow
from tiku.data.decoding import read_bytes
from tiku.data.table import Reader, Table

__all__ = ["READER", "Parquet"]


class Parquet(Reader):
    """One Parquet file."""

    name: ClassVar[str] = "parquet"
    title: ClassVar[Text] = Text("Parquet", "Parquet")
    suffixes: ClassVar[tuple[str, ...]] = (".parquet", ".pq")

    def recognises(self, path: Path) -> bool:
        """By suffix."""
        return path.suffix.lower() in self.suffixes

    def read(self, path: Path) -> Table:
        """All rows. Raises `DataError` when the file is truncated or not Parquet."""
        import pyarrow
        import pyarrow.parquet

        content = read_bytes(path)
        try:
            table = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(
                "the file is not a whole Parquet file",
                got=f"{path.name}: {error}",
                allowed="a Parquet file",
                next_step="write it again; a truncated copy cannot be repaired",
            ) from error
        return from_arrow(path.stem, path.name, table)


READER = Parquet()
