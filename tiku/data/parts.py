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
    """Tables named by split as one; those of other names ("unsupervised") are left out, and it is said.

    Raises `DataError` when no name is a split, or their columns differ.
    """
    parts = [(part, table) for label, table in named if (part := part_named(label)) is not None]
    others = [label for label, _ in named if part_named(label) is None]
    if not parts:
        raise DataError(
            "the parts of the dataset are not named after splits",
            got=others,
            allowed=SPLIT_NAMES,
            next_step="rename them, or give the one part that you want as --data",
        )
    notes = []
    if others:
        listed = ", ".join(f"{label} ({len(table)})" for label, table in named if label in others)
        notes.append(
            Text(f"parts that are no split are left out: {listed}", f"未使用不属于划分的部分：{listed}")
        )
    table = join([(f"the {part} split", t) for part, t in parts], name)
    own = tuple(part for part, t in parts for _ in range(len(t)))
    if "train" not in own:
        notes.append(
            Text(
                "the source has no train part: its own splits are ignored and new ones are made",
                "数据来源没有训练部分：忽略其自带的划分，重新划分",
            )
        )
    return replace(table, parts=own if "train" in own else None, guesses=(*table.guesses, *notes))
