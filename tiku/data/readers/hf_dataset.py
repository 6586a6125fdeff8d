"""A folder that `datasets.Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote.

The Arrow streams are read with pyarrow; the `datasets` package is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from tiku.core.errors import DataError
from tiku.core.text import Text
from tiku.data.arrow import class_names_of, from_arrow
from tiku.data.parts import join_parts
from tiku.data.table import Reader, Table

__all__ = ["READER", "SavedDataset"]


class SavedDataset(Reader):
    """`state.json` with Arrow files beside it, or `dataset_dict.json` with one such folder per split."""

    name: ClassVar[str] = "hf-dataset"
    title: ClassVar[Text] = Text("saved Hugging Face dataset", "Hugging Face 数据集文件夹")
    suffixes: ClassVar[tuple[str, ...]] = ()
    rank: ClassVar[int] = 10

    def recognises(self, path: Path) -> bool:
        """By the two marker files."""
        return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()

    def read(self, path: Path) -> Table:
        """All rows, with their splits. Raises `DataError` for a missing or damaged part."""
        if not (path / "dataset_dict.json").is_file():
            return _read_split(path)
        names = _json(path / "dataset_dict.json").get("splits")
        if not isinstance(names, list) or not names:
            raise _damaged(path / "dataset_dict.json", "no list of splits")
        return join_parts([(str(n), _read_split(_inside(path, str(n)))) for n in names], path.name)


def _read_split(folder: Path) -> Table:
    import pyarrow

    files = _json(folder / "state.json").get("_data_files")
    if not isinstance(files, list) or not files or not all(isinstance(file, dict) for file in files):
        raise _damaged(folder / "state.json", "no list of data files")
    tables = [_read_arrow(_inside(folder, str(file.get("filename")))) for file in files]
    try:
        joined = pyarrow.concat_tables(tables)
    except pyarrow.ArrowException as error:
        raise _damaged(folder, str(error)) from error
    table = from_arrow(folder.name, folder.name, joined)
    return replace(table, class_names={**_declared_classes(folder), **table.class_names})


def _declared_classes(folder: Path) -> dict[str, tuple[str, ...]]:
    info = folder / "dataset_info.json"
    features = _json(info).get("features") if info.is_file() else None
    return class_names_of(features) if isinstance(features, Mapping) else {}


def _read_arrow(path: Path) -> Any:
    import pyarrow

    try:
        with pyarrow.memory_map(str(path)) as source, pyarrow.ipc.open_stream(source) as stream:
            return stream.read_all()
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(path, str(error)) from error


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(value, dict):
        raise _damaged(path, "not a JSON object")
    return value


def _inside(folder: Path, name: str) -> Path:
    if Path(name).name != name or name in ("", ".", ".."):
        raise _damaged(folder, f"a part lies outside the folder: {name}")
    return folder / name


def _damaged(path: Path, problem: str) -> DataError:
    return DataError(
        "the saved dataset is damaged",
        got=f"{path.parent.name}/{path.name}: {problem}",
        allowed="a folder written by datasets' save_to_disk",
        next_step="write it again with save_to_disk",
    )


READER = SavedDataset()
