"""`load`: paths, samples and Python lists to datasets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tiku.core.data import Dataset
from tiku.core.errors import DataError
from tiku.core.files import user_path
from tiku.core.method import Progress, silent
from tiku.core.registry import get, names
from tiku.data.columns import Columns
from tiku.data.folders import read_file, read_folder, read_parts
from tiku.data.loaded import LoadedData
from tiku.data.parts import stem_and_part
from tiku.data.shaping import shape
from tiku.data.table import Table

__all__ = ["Source", "load"]

Source = str | Path | Dataset | Sequence[tuple[Any, ...]]
_SAMPLE = "sample:"


def load(
    sources: Sequence[Source],
    *,
    columns: Columns | None = None,
    task: str | None = None,
    cache: Path | None = None,
    progress: Progress = silent,
) -> tuple[LoadedData, ...]:
    """One dataset per source, in order; files named by split (a_train.csv, a_test.csv) make one.

    A source is a path (CSV, TSV, JSONL, Parquet, text; a folder of them; a saved Hugging Face
    dataset), `sample:NAME`, a `Dataset`, or a list of `(text, label)` or `(text, pair, label)`.
    `columns` says which column is what, `task` which of two readings is meant. Raises `DataError`,
    `UnknownName` for a sample, `TikuError` when a sample cannot be fetched.
    """
    asked = columns or Columns()
    if isinstance(sources, str | Path) or not sources:
        raise DataError(
            "no list of data sources was given",
            got=sources or "nothing",
            allowed="a list of paths, sample:NAME, or (text, label) rows",
            next_step="give --data PATH at least once",
        )
    return tuple(_load(source, asked, task, cache, progress) for source in _joined(sources))


def _load(
    source: Source | list[Path], columns: Columns, task: str | None, cache: Path | None, progress: Progress
) -> LoadedData:
    if isinstance(source, Dataset):
        return _given(source, task)
    if isinstance(source, str) and source.startswith(_SAMPLE):
        sample = get("samples", source.removeprefix(_SAMPLE))
        loaded: LoadedData = sample.load(task=task, progress=progress, cache=cache)
        return loaded
    if isinstance(source, str | Path):
        return shape(read_table(user_path(source)), columns, task)
    if isinstance(source, list) and source and all(isinstance(s, Path) for s in source):
        return shape(read_parts([Path(str(s)) for s in source], read_table), columns, task)
    return shape(_from_rows(source), columns, task)


def _given(dataset: Dataset, task: str | None) -> LoadedData:
    if task is not None and task not in dataset.tasks:
        raise DataError(
            f"these data cannot serve the task {task}",
            got=f"{dataset.name}: {dataset.kind}",
            allowed=f"data for {', '.join(sorted(dataset.tasks))}",
            next_step="give data of the model's task",
        )
    return LoadedData(dataset)


def _joined(sources: Sequence[Source]) -> list[Source | list[Path]]:
    """Sources, with the files of one dataset's splits as one list where the first of them stood."""
    families: dict[tuple[Path, str, str], list[Path]] = {}
    keys: list[tuple[Path, str, str] | None] = []
    for source in sources:
        key = None
        if isinstance(source, str | Path) and not str(source).startswith(_SAMPLE):
            path = user_path(source)
            part = stem_and_part(path.stem) if path.is_file() else None
            key = None if part is None else (path.parent, part[0], path.suffix.lower())
        if key is not None:
            families.setdefault(key, []).append(user_path(str(source)))
        keys.append(key)
    ordered: list[Source | list[Path]] = []
    for source, key in zip(sources, keys, strict=True):
        files = families.get(key, []) if key else []
        if len(files) < 2:
            ordered.append(source)
        elif user_path(str(source)) == files[0]:
            ordered.append(files)
    return ordered


def read_table(path: Path) -> Table:
    """The rows of a file or a folder. Raises `DataError` when nothing here can read it."""
    if not path.exists():
        raise DataError(
            "there is no such file or folder",
            got=path,
            allowed="a path, or sample:NAME",
            next_step=f"check the path; samples are named like sample:{names('samples')[0]}",
        )
    readers = sorted((get("readers", name) for name in names("readers")), key=lambda reader: reader.rank)
    table = read_folder(path, readers) if path.is_dir() else read_file(path, readers)
    if table is not None:
        return table
    suffixes = sorted({s for reader in readers for s in reader.suffixes})
    raise DataError(
        "the folder holds no data that can be read" if path.is_dir() else "files of this kind are not read",
        got=path,
        allowed=f"{', '.join(suffixes)}; a folder with train and test files; a saved Hugging Face dataset",
        next_step="save the data in one of these forms",
    )


def _from_rows(rows: object) -> Table:
    """A Python list of (text, label) or (text, pair, label)."""
    if isinstance(rows, list | tuple) and rows:
        widths = {len(row) for row in rows if isinstance(row, tuple | list)}
        if all(isinstance(row, tuple | list) for row in rows) and widths in ({2}, {3}):
            names_ = ("text", "label") if widths == {2} else ("text1", "text2", "label")
            columns = {name: [row[i] for row in rows] for i, name in enumerate(names_)}
            return Table("rows", columns, [f"row {i + 1}" for i in range(len(rows))])
    raise DataError(
        "this is not a data source",
        got=type(rows).__name__ if not isinstance(rows, list | tuple) else f"{len(rows)} rows: {rows[:2]}",
        allowed="a path, sample:NAME, a Dataset, or a list of (text, label) or (text, pair, label)",
        next_step="give one of these",
    )
