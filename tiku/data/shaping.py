"""A table to the dataset it holds: labelled texts, prose or choices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tiku.core.data import DataReport, SplitName
from tiku.core.errors import DataError
from tiku.core.text import Text
from tiku.data.checks import checked_texts
from tiku.data.choice_shapes import looks_like_choices, read_choices
from tiku.data.columns import (
    GROUP_NAMES,
    LABEL_NAMES,
    SPLIT_COLUMN_NAMES,
    TEXT_NAMES,
    Columns,
    by_name,
    guess_label,
    guess_text,
    taken,
    text_pair,
)
from tiku.data.labelled_texts import LabelledTexts, length_bounds
from tiku.data.labels import read_labels
from tiku.data.loaded import LoadedData
from tiku.data.parts import part_named
from tiku.data.prose import Prose
from tiku.data.table import FOLDER, Table

__all__ = ["shape"]


def shape(table: Table, columns: Columns, task: str | None = None) -> LoadedData:
    """The dataset in a table. `task` decides where a table could be two things: labelled rows are
    running text for a language model. Raises `DataError`."""
    if table.documents and task == "text-classification" and FOLDER in table.columns:
        loaded = _by_folder(table, columns)
    elif table.documents:
        loaded = _prose(table, Columns(), "text", ())
    else:
        columns.check(table)
        if looks_like_choices(table, columns) and task != "text-classification":
            loaded = _choices(table, columns)
        else:
            loaded = _texts(table, columns, task)
    if task is not None and task not in loaded.dataset.tasks:
        raise DataError(
            f"these data cannot serve the task {task}",
            got=f"{table.name}: {loaded.dataset.kind}",
            allowed=f"data for {', '.join(sorted(loaded.dataset.tasks))}",
            next_step="give data with a text and a label column"
            if task == "text-classification"
            else "give plain text or multiple-choice questions",
        )
    return loaded


def _by_folder(table: Table, columns: Columns) -> LoadedData:
    """Documents labelled by the folder they lie in; those beside the folders are left out."""
    inside = [i for i, folder in enumerate(table.column(FOLDER)) if folder]
    note = Text("the folder of each text is taken as its label", "以文本所在的文件夹作为标签")
    found = [note]
    if len(inside) < len(table):
        beside = len(table) - len(inside)
        found.append(
            Text(f"{beside} files beside these folders are left out", f"未使用文件夹之外的 {beside} 个文件")
        )
    return _labelled(table.take(inside), columns, "text", None, FOLDER, tuple(found))


def _choices(table: Table, columns: Columns) -> LoadedData:
    choices, guesses = read_choices(table, columns)
    parts, part_guesses = _parts(table, columns)
    facts = {"kind": choices.kind, "examples": len(choices), "options": _spread(map(len, choices.options))}
    return LoadedData(choices, DataReport(facts, (*table.guesses, *guesses, *part_guesses)), parts)


def _texts(table: Table, columns: Columns, task: str | None) -> LoadedData:
    text, pair, guesses = _text_columns(table, columns)
    if task == "causal-lm" and columns.label is None:
        return _prose(table, columns, text, guesses)
    label = columns.label
    if label is None:
        others = [text, pair, columns.group or by_name(table, GROUP_NAMES), *columns.slices]
        guess = guess_label(table, [*others, columns.split or by_name(table, SPLIT_COLUMN_NAMES)])
        besides = {"title", "id", "url", *SPLIT_COLUMN_NAMES}
        if guess is None and task is None and len(set(table.columns) - besides) == 1:
            return _prose(table, columns, text, guesses)
        if guess is None:
            raise DataError(
                f"{table.name} has no column that could be the label",
                got=", ".join(table.columns),
                allowed="a column with one class per row",
                next_step="name it: --label COLUMN",
            )
        label, reason = guess
        guesses = (*guesses, reason)
    return _labelled(table, columns, text, pair, label, guesses)


def _text_columns(table: Table, columns: Columns) -> tuple[str, str | None, tuple[Text, ...]]:
    """The text column, the second text column where there is one, and what was guessed."""
    if columns.text is not None:
        return columns.text, columns.text_pair, ()
    both = text_pair(table)
    if both is not None and columns.text_pair in (None, both[1]) and columns.label not in both:
        why = Text("of their names", "列名符合")
        found = Text(
            f'columns "{both[0]}" and "{both[1]}" are taken as a pair of texts, because {why.en}',
            f"将“{both[0]}”与“{both[1]}”两列作为文本对，因为{why.zh}",
        )
        return both[0], both[1], (found,)
    others = [columns.label, columns.text_pair, columns.group, columns.split, *columns.slices]
    guess = guess_text(table, others if columns.label else [*others, _label_by_name(table)])
    if guess is None:
        raise DataError(
            f"{table.name} has no column of texts",
            got=", ".join(table.columns),
            allowed=f"a column of texts, for example: {', '.join(TEXT_NAMES[:5])}",
            next_step="name it: --text COLUMN",
        )
    return guess[0], columns.text_pair, (guess[1],)


def _label_by_name(table: Table) -> str | None:
    return by_name(table, LABEL_NAMES)


def _labelled(
    table: Table, columns: Columns, text: str, pair: str | None, label: str, guesses: tuple[Text, ...]
) -> LoadedData:
    parts, part_guesses = _parts(table, columns)
    table, parts, unlabelled = _without_unlabelled(replace(table, parts=parts), label)
    guesses = (*guesses, *unlabelled)
    texts = checked_texts(table.column(text), table.where, "text")
    pairs = None if pair is None else checked_texts(table.column(pair), table.where, "second text")
    labels = read_labels(
        table.column(label),
        table.where,
        names=table.class_names.get(label, ()),
        label_map=columns.label_map,
        parts=parts,
    )
    group = columns.group or by_name(table, GROUP_NAMES)
    if group is not None and columns.group is None:
        guesses = (*guesses, taken(group, Text("group", "分组"), Text("of its name", "列名符合")))
    dataset = LabelledTexts(
        table.name,
        texts,
        np.asarray(labels.indices, dtype=np.int64),
        labels.class_names,
        pairs,
        None if group is None else tuple(str(v) for v in table.column(group)),
        {name: tuple(str(v) for v in table.column(name)) for name in columns.slices},
        length_bounds(texts, pairs),
    )
    count = Counter(labels.indices)
    facts = {
        "kind": dataset.kind,
        "examples": len(dataset),
        "classes": {name: count[i] for i, name in enumerate(labels.class_names)},
        "characters": _spread(map(len, texts)),
    }
    found = (*table.guesses, *guesses, *part_guesses, _classes_taken(labels.class_names))
    return LoadedData(dataset, DataReport(facts, found, labels.warnings), parts)


def _classes_taken(names: Sequence[str]) -> Text:
    shown = ", ".join(f"{i} = {name}" for i, name in enumerate(names[:10]))
    more = f", … ({len(names)})" if len(names) > 10 else ""
    return Text(f"classes: {shown}{more}", f"类别：{shown}{more}")


def _without_unlabelled(
    table: Table, label: str
) -> tuple[Table, tuple[SplitName, ...] | None, tuple[Text, ...]]:
    """The table without those of its own splits that have no labels at all (a competition's test part)."""
    if table.parts is None:
        return table, None, ()
    labelled = {p for p, v in zip(table.parts, table.column(label), strict=True) if not _unlabelled(v)}
    bare = [part for part in dict.fromkeys(table.parts) if part not in labelled and part != "train"]
    if not bare:
        return table, table.parts, ()
    kept = table.take([i for i, part in enumerate(table.parts) if part not in bare])
    listed = ", ".join(f"{part} ({table.parts.count(part)})" for part in bare)
    note = Text(f"parts without labels are left out: {listed}", f"未使用没有标签的部分：{listed}")
    return kept, kept.parts, (note,)


def _unlabelled(value: object) -> bool:
    """An empty label, or -1, with which Hugging Face marks rows whose label is kept secret."""
    return value is None or str(value).strip() in ("", "-1", "-1.0", "nan")


def _prose(table: Table, columns: Columns, text: str, guesses: tuple[Text, ...]) -> LoadedData:
    parts, part_guesses = _parts(table, columns)
    filled = [i for i, v in enumerate(table.column(text)) if v is not None and v != ""]
    if not table.documents and 0 < len(filled) < len(table):
        empty = len(table) - len(filled)
        note = Text(f"{empty} rows without text are left out", f"未使用 {empty} 行空文本")
        table, guesses = replace(table, parts=parts).take(filled), (*guesses, note)
        parts = table.parts
    documents = checked_texts(table.column(text), table.where, "document", most=None)
    prose = Prose(table.name, documents, _titles(table, columns, text))
    facts = {"kind": prose.kind, "examples": len(prose), "characters": prose.characters()}
    how = Text(
        f'column "{text}" is read as running text for language modelling, one document per row',
        f"将“{text}”列作为语言建模文本读取，每行一篇文档",
    )
    found = guesses if table.documents else (*guesses, how)
    return LoadedData(prose, DataReport(facts, (*table.guesses, *found, *part_guesses)), parts)


def _titles(table: Table, columns: Columns, text: str) -> tuple[str, ...]:
    """What documents are called; documents of one title stay in one split, so a name that many carry
    is none, unless the user names the column of groups."""
    title = columns.group or by_name(table, ("title", "name"))
    if title is None or title == text:
        return tuple(table.where)
    values = tuple(str(v) for v in table.column(title))
    distinct = len(set(values)) == len(values)
    return values if distinct or columns.group else tuple(table.where)


def _parts(table: Table, columns: Columns) -> tuple[tuple[SplitName, ...] | None, tuple[Text, ...]]:
    """The splits the rows came in, from their files or from a split column."""
    name = columns.split or by_name(table, SPLIT_COLUMN_NAMES)
    if table.parts is not None or name is None:
        return table.parts, ()
    found = [part_named(str(value)) for value in table.column(name)]
    parts = tuple(part for part in found if part is not None)
    if len(parts) < len(found) or "train" not in parts:
        if columns.split is None:
            return None, ()
        value = next((v for v, p in zip(table.column(name), found, strict=True) if p is None), "no train")
        raise DataError(
            "the split column does not name splits",
            got=f"{name}: {value}",
            allowed="train, validation, test, calibration; with at least one train row",
            next_step="correct the values, or leave the column out",
        )
    guess = taken(name, Text("split", "划分"), Text("of its name and values", "列名与取值符合"))
    return parts, () if columns.split else (guess,)


def _spread(sizes: object) -> dict[str, int]:
    """Smallest, median and largest of some counts."""
    ordered = sorted(sizes)  # type: ignore[call-overload]
    return {"least": ordered[0], "median": ordered[len(ordered) // 2], "most": ordered[-1]}
