"""What a folder holds: one saved dataset, the files of its splits, parts of one table, or documents.

Nothing is left out without being said, and where two readings are possible, none is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tiku.core.errors import DataError
from tiku.core.text import Text
from tiku.data.parts import join_parts, stem_and_part
from tiku.data.table import Reader, Table, join

__all__ = ["read_file", "read_folder", "read_parts"]

_HUB_FOLDER = "data"  # where the model hub keeps the files of a dataset
_ABOUT = ("readme", "license", "licence", "citation", "changelog", "notice")


def read_file(path: Path, readers: Sequence[Reader]) -> Table | None:
    """The rows of a file, or None when no reader knows its kind."""
    reader = next((r for r in readers if r.recognises(path)), None)
    return None if reader is None else reader.read(path)


def read_folder(path: Path, readers: Sequence[Reader]) -> Table | None:
    """The rows of a folder, or None when nothing in it is data. Raises `DataError`."""
    saved = next((r for r in readers if not r.documents and r.recognises(path)), None)
    if saved is not None:
        return saved.read(path)
    for folder in (path, path / _HUB_FOLDER):
        table = _of_files(folder, readers) if folder.is_dir() else None
        if table is not None:
            return replace(table, name=path.resolve().name)
    texts = next((r for r in readers if r.documents and r.recognises(path)), None)
    return None if texts is None else texts.read(path)


def read_parts(files: Sequence[Path], read: Callable[[Path], Table]) -> Table:
    """Files named by split as one table."""
    named = []
    for file in sorted(files, key=lambda f: f.name):
        part = stem_and_part(file.stem)
        assert part is not None  # callers give files named by split only
        named.append((str(part[1]), read(file)))
    if len(named) == 1:
        return named[0][1]
    return join_parts(named, files[0].parent.resolve().name)


def _of_files(folder: Path, readers: Sequence[Reader]) -> Table | None:
    """The table that the files directly in a folder make, or None where they are documents or nothing."""

    def read(file: Path) -> Table:
        table = read_file(file, readers)
        assert table is not None  # only files that a reader recognises get here
        return table

    files = [f for f in sorted(folder.iterdir()) if f.is_file() and not f.name.startswith(".")]
    kinds = {f: next((r for r in readers if r.recognises(f)), None) for f in files}
    tables = [f for f, reader in kinds.items() if reader is not None and not reader.documents]
    texts = [f for f, reader in kinds.items() if reader is not None and reader.documents and not _about(f)]
    for group in (tables, texts):
        parts = [f for f in group if stem_and_part(f.stem)]
        if parts and (group is tables or len(parts) == len(texts) > 1):
            _refuse_several(folder, parts)
            left = [f for f in tables if f not in parts and f.suffix != ".json"]
            return _noted(read_parts(parts, read), left)
    rows = [f for f in tables if f.suffix != ".json"]
    if not rows:
        return None
    _refuse_several(folder, rows, texts)
    return _join_rows(folder, rows, read)


def _join_rows(folder: Path, files: Sequence[Path], read: Callable[[Path], Table]) -> Table:
    """The rows of several files of one kind, one after the other."""
    tables = [read(file) for file in files]
    if len(tables) == 1:
        return tables[0]
    table = join([(f.name, t) for f, t in zip(files, tables, strict=True)], folder.resolve().name)
    names = f"{files[0].name} … {files[-1].name}"
    note = Text(
        f"the rows of {len(files)} files are taken together: {names}",
        f"合并 {len(files)} 个文件中的行：{names}",
    )
    return replace(table, guesses=(*table.guesses, note))


def _about(file: Path) -> bool:
    """Whether a file is about the data and not data."""
    return file.stem.lower().startswith(_ABOUT)


def _refuse_several(folder: Path, files: Sequence[Path], texts: Sequence[Path] = ()) -> None:
    """Raise `DataError` where the files cannot be those of one dataset."""
    named = {(part[0] if (part := stem_and_part(f.stem)) else "", f.suffix.lower()) for f in files}
    if len(named) > 1 or texts:
        raise DataError(
            "the folder holds several datasets",
            got=f"{folder}: {', '.join(f.name for f in [*files, *texts])}",
            allowed="the files of one dataset, all of one kind",
            next_step="name the files: --data FILE, once for each",
        )


def _noted(table: Table, left: Sequence[Path]) -> Table:
    if not left:
        return table
    names = ", ".join(f.name for f in left)
    note = Text(f"files not named after a split are left out: {names}", f"未使用不以划分命名的文件：{names}")
    return replace(table, guesses=(*table.guesses, note))
