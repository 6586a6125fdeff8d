"""Splits that the source came with: by file name, by folder, by column."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from tiku.core.data import SPLIT_NAMES, SplitName
from tiku.core.errors import DataError
from tiku.core.text import Text
from tiku.data.table import Table, join

__all__ = ["join_parts", "part_named", "stem_and_part"]

_ALIASES: dict[str, SplitName] = {
    "train": "train", "training": "train",
    "calibration": "calibration", "calib": "calibration",
    "validation": "validation", "valid": "validation", "val": "validation",
    "dev": "validation", "development": "validation",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
    "训练": "train", "训练集": "train", "验证": "validation", "验证集": "validation",
    "测试": "test", "测试集": "test",
}  # fmt: skip
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")  # train-00000-of-00002.parquet


def part_named(name: str) -> SplitName | None:
    """The split that a name stands for ("dev" is validation), or None."""
    return _ALIASES.get(name.strip().lower())


def stem_and_part(stem: str) -> tuple[str, SplitName] | None:
    """ "reviews_test" -> ("reviews", "test"); None when the file name names no split."""
    stem = _SHARD.sub("", stem)
    head, _, tail = re.sub(r"[-_. ]", "\0", stem).rpartition("\0")
    part = part_named(tail)
    return None if part is None else (stem[: len(head)], part)


def join_parts(named: Sequence[tuple[str, Table]], name: str) -> Table:
    """Tables named by split as one. Raises `DataError` for a name that is no split."""
    parts: list[tuple[SplitName, Table]] = []
    for label, table in named:
        part = part_named(label)
        if part is None:
            raise DataError(
                "a part of the dataset is not named after a split",
                got=label,
                allowed=SPLIT_NAMES,
                next_step="rename it, or give the one part that you want as --data",
            )
        parts.append((part, table))
    table = join(parts, name)
    if "train" in {part for part, _ in parts}:
        return table
    note = Text(
        "the source has no train part: its own splits are ignored and new ones are made",
        "数据来源没有训练部分：忽略其自带的划分，重新划分",
    )
    return replace(table, parts=None, guesses=(*table.guesses, note))
