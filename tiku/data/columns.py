"""Which column is what: as the user says, else by name, else by content; every guess is reported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from tiku.core.errors import DataError
from tiku.core.registry import closest
from tiku.core.text import Text
from tiku.data.table import Table

__all__ = ["Columns", "by_name", "guess_label", "guess_text", "taken", "text_pair"]

TEXT_NAMES = (
    "text", "sentence", "review", "review_text", "content", "comment", "tweet", "message", "body",
    "document", "question", "premise", "sentence1", "text1", "title", "headline", "utterance",
    "文本", "评论", "内容", "正文", "句子",
)  # fmt: skip
PAIR_NAMES = (
    ("sentence1", "sentence2"), ("text1", "text2"), ("text_a", "text_b"), ("premise", "hypothesis"),
    ("question1", "question2"), ("question", "passage"), ("question", "sentence"), ("query", "passage"),
    ("query", "document"),
)  # fmt: skip
LABEL_NAMES = (
    "label", "labels", "class", "category", "sentiment", "target", "intent", "topic", "gold_label", "y",
    "标签", "类别", "情感", "分类",
)  # fmt: skip
GROUP_NAMES = ("group", "group_id", "groups", "分组")
SPLIT_COLUMN_NAMES = ("split", "subset", "partition", "划分")
_MOST_GUESSED_CLASSES = 50


@dataclass(frozen=True)
class Columns:
    """What the user says about the columns; everything left None is guessed and reported.

    `label_map` renames label values to class names; its order is the order of the classes.
    `context`, `options` and `answer` are the columns of multiple-choice data.
    """

    text: str | None = None
    text_pair: str | None = None
    label: str | None = None
    group: str | None = None
    split: str | None = None
    slices: tuple[str, ...] = ()
    label_map: Mapping[str, str] = field(default_factory=dict)
    context: str | None = None
    options: str | None = None
    answer: str | None = None

    def check(self, table: Table) -> None:
        """Raise `DataError` when a named column is not in the table, or stands for two things."""
        roles = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("slices", "label_map")}
        named = {role: name for role, name in roles.items() if name is not None}
        for role, name in [*named.items(), *(("slices", name) for name in self.slices)]:
            _must_exist(table, role, name)
        inputs = [name for role, name in named.items() if role not in ("group", "split")]
        doubled = {name for name in inputs if inputs.count(name) > 1}
        if doubled:
            raise DataError(
                "one column is named for two things",
                got=", ".join(f"{role}={name}" for role, name in named.items() if name in doubled),
                allowed="a different column for each",
                next_step=f"choose among: {', '.join(table.columns)}",
            )


def _must_exist(table: Table, role: str, name: str) -> None:
    if name not in table.columns:
        raise DataError(
            f"{table.name} has no column of this name",
            got=f"{role}={name}",
            allowed=table.columns,
            next_step=closest(name, table.columns) or "name one of these columns",
        )


def by_name(table: Table, names: Iterable[str]) -> str | None:
    """The first column whose name, in any case, is among the names, in the order of the names."""
    lower = {column.lower(): column for column in reversed(list(table.columns))}
    return next((lower[name] for name in names if name in lower), None)


def taken(column: str, role: Text, why: Text) -> Text:
    """The line that reports a guess."""
    return Text(
        f'column "{column}" is taken as the {role.en}, because {why.en}',
        f"将“{column}”列作为{role.zh}，因为{why.zh}",
    )


def text_pair(table: Table) -> tuple[str, str] | None:
    """The two text columns of pair data, by their usual names."""
    lower = {column.lower(): column for column in table.columns}
    found = (pair for pair in PAIR_NAMES if pair[0] in lower and pair[1] in lower)
    return next(((lower[a], lower[b]) for a, b in found), None)


def guess_text(table: Table, besides: Sequence[str | None]) -> tuple[str, Text] | None:
    """The text column: by name, else the one with the longest texts."""
    role = Text("text", "文本")
    free = [c for c in table.columns if c not in besides]
    texts = [c for c in free if _all_text(table.columns[c])]
    name = by_name(table, TEXT_NAMES)
    if name in free and name is not None:
        return name, taken(name, role, Text("of its name", "列名符合"))
    if not texts:
        return None
    longest = max(texts, key=lambda c: sum(map(len, table.columns[c])))
    return longest, taken(longest, role, Text("it holds the longest texts", "该列文本最长"))


def guess_label(table: Table, besides: Sequence[str | None]) -> tuple[str, Text] | None:
    """The label column: by name, else the only one with few distinct values. Raises `DataError`
    when several could be it."""
    role = Text("label", "标签")
    free = [c for c in table.columns if c not in besides]
    name = by_name(table, LABEL_NAMES)
    if name in free and name is not None:
        return name, taken(name, role, Text("of its name", "列名符合"))
    few = [c for c in free if _few_values(table.columns[c])]
    if len(few) > 1:
        raise DataError(
            "several columns could be the label",
            got=", ".join(few),
            allowed="one label column",
            next_step=f"name it: --label {few[0]}",
        )
    if not few:
        return None
    distinct = len(set(map(str, table.columns[few[0]])))
    why = Text(f"it has only {distinct} distinct values", f"该列只有 {distinct} 个不同取值")
    return few[0], taken(few[0], role, why)


def _all_text(values: Sequence[Any]) -> bool:
    return all(isinstance(v, str) for v in values)


def _few_values(values: Sequence[Any]) -> bool:
    if not all(isinstance(v, str | int | None) or (isinstance(v, float) and v.is_integer()) for v in values):
        return False
    distinct = len(set(values))
    return 2 <= distinct <= min(_MOST_GUESSED_CLASSES, max(2, len(values) // 3))
