"""Plain text and Markdown for language modelling: a file, or a folder of files."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from tiku.core.text import Text
from tiku.data.decoding import read_text
from tiku.data.table import Reader, Table

__all__ = ["READER", "PlainText"]


class PlainText(Reader):
    """Every file is one document; its path below the folder is its title."""

    name: ClassVar[str] = "plain-text"
    title: ClassVar[Text] = Text("plain text", "纯文本")
    suffixes: ClassVar[tuple[str, ...]] = (".txt", ".md", ".markdown", ".text")
    rank: ClassVar[int] = 90

    def recognises(self, path: Path) -> bool:
        """By suffix; a folder when at least one such file lies in it."""
        return bool(self._files(path)) if path.is_dir() else path.suffix.lower() in self.suffixes

    def read(self, path: Path) -> Table:
        """All documents. Raises `DataError` for an empty or binary file."""
        files = self._files(path) if path.is_dir() else [path]
        titles = [f.relative_to(path).as_posix() if path.is_dir() else f.name for f in files]
        columns = {"title": titles, "text": [read_text(file) for file in files]}
        return Table(path.stem, columns, titles, documents=True)

    def _files(self, folder: Path) -> list[Path]:
        found = (f for f in folder.rglob("*") if f.suffix.lower() in self.suffixes and f.is_file())
        return sorted(found, key=lambda f: f.relative_to(folder).as_posix())


READER = PlainText()
