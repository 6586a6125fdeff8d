"""Plain text and Markdown for language modelling: a file, or a folder of files."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from tiku.core.text import Text
from tiku.data.decoding import read_text
from tiku.data.parts import part_named
from tiku.data.table import FOLDER, Reader, Table

__all__ = ["READER", "PlainText"]


class PlainText(Reader):
    """Every file is one document; its path below the folder is its title.

    Folders named after splits (train, test) say in which part a document is; the folder right above a
    document is kept as well: where texts are to be classified, it is their label (pos/1.txt, neg/7.txt).
    """

    name: ClassVar[str] = "plain-text"
    title: ClassVar[Text] = Text("plain text", "纯文本")
    suffixes: ClassVar[tuple[str, ...]] = (".txt", ".md", ".markdown", ".text")
    rank: ClassVar[int] = 90
    documents: ClassVar[bool] = True

    def recognises(self, path: Path) -> bool:
        """By suffix; a folder when at least one such file lies in it."""
        return bool(self._files(path)) if path.is_dir() else path.suffix.lower() in self.suffixes

    def read(self, path: Path) -> Table:
        """All documents. Raises `DataError` for an empty or binary file."""
        if not path.is_dir():
            columns = {"title": [path.name], "text": [read_text(path)]}
            return Table(path.stem, columns, [path.name], documents=True)
        files = self._files(path)
        below = [file.relative_to(path) for file in files]
        titles = [file.as_posix() for file in below]
        columns = {"title": titles, "text": [read_text(file) for file in files]}
        found = [part_named(file.parts[0]) if len(file.parts) > 1 else None for file in below]
        folders = [_folder(file) for file in below]
        if any(folders):
            columns[FOLDER] = folders
        parts = tuple(part for part in found if part is not None)
        whole = parts if len(parts) == len(found) and "train" in parts else None
        return Table(path.resolve().name, columns, titles, documents=True, parts=whole)

    def _files(self, folder: Path) -> list[Path]:
        found = (f for f in folder.rglob("*") if f.suffix.lower() in self.suffixes and f.is_file())
        return sorted(found, key=lambda f: f.relative_to(folder).as_posix())


def _folder(file: Path) -> str:
    """The folder that a document lies in, unless that is a split or the top."""
    parent = file.parts[-2] if len(file.parts) > 1 else ""
    return "" if part_named(parent) else parent


READER = PlainText()
