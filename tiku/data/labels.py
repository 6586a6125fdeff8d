"""Label values as they stand in files to class names and class indices."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tiku.core.data import SplitName
from tiku.core.errors import DataError
from tiku.core.registry import closest
from tiku.core.text import Text

__all__ = ["Labels", "read_labels"]

MOST_CLASSES = 1000
_NUMBER = re.compile(r"-?\d+\.\d+")  # 4.0 and 4.50 are written as 4 and 4.5
_SHOWN = 5


@dataclass(frozen=True)
class Labels:
    """Class index per row, class names in index order, and what was noticed."""

    indices: tuple[int, ...]
    class_names: tuple[str, ...]
    warnings: tuple[Text, ...] = ()


def read_labels(
    values: Sequence[Any],
    where: Sequence[str],
    *,
    names: Sequence[str] = (),
    label_map: Mapping[str, str] | None = None,
    parts: Sequence[SplitName] | None = None,
) -> Labels:
    """Labels of N rows. `names` are what the integers 0, 1, … stand for, where the file says so.

    Raises `DataError` for missing labels, fractions without a map, values outside `names` or `label_map`, one
    class only, labels that look like ids or ratings, and classes that only occur outside train.
    """
    spelled = [_spelled(v, at) for v, at in zip(values, where, strict=True)]
    if not label_map:
        _refuse_fractions(spelled, values, where)
    _refuse_missing(spelled, where)
    texts = [text for text in spelled if text is not None]
    if names:
        texts = _named(texts, where, names)
    warnings: tuple[Text, ...] = ()
    if label_map:
        warnings = _idle_entries(texts, label_map)
        texts, classes = _mapped(texts, label_map), tuple(dict.fromkeys(label_map.values()))
        classes = tuple(c for c in classes if c in set(texts))
    elif names:
        classes = tuple(dict.fromkeys(map(str, names)))
    else:
        texts, warnings = _merge_spellings(texts)
        classes = _ordered(set(texts))
    _check_classes(texts, where)
    if parts is not None:
        _refuse_unseen(texts, where, parts)
    index = {name: i for i, name in enumerate(classes)}
    return Labels(tuple(index[text] for text in texts), classes, warnings)


def _spelled(value: Any, where: str) -> str | None:
    """One spelling per value: True, 1.0 and "1.0" are "true", "1" and "1"; None where there is no label.

    Raises `DataError` for structures.
    """
    value = value.item() if hasattr(value, "item") else value  # a NumPy scalar
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, int | float | str | Decimal):
        raise _not_a_class(value, where)
    text = str(value).strip()
    if _NUMBER.fullmatch(text):
        return text.rstrip("0").removesuffix(".")
    return None if text.lower() in ("", "nan", "null") else text


def _refuse_fractions(spelled: Sequence[str | None], values: Sequence[Any], where: Sequence[str]) -> None:
    for text, value, at in zip(spelled, values, where, strict=True):
        if text is not None and _is_fraction(text):
            raise _not_a_class(value, at)


def _is_fraction(text: str) -> bool:
    try:
        number = float(text)
    except ValueError:
        return False
    return math.isfinite(number) and not number.is_integer()


def _not_a_class(value: Any, where: str) -> DataError:
    return DataError(
        "a label is a fraction or a structure, not a class",
        got=f"{where}: {value!r}",
        allowed="class names or whole numbers",
        next_step="turn ratings into classes (--label-map 4.5=good …), or name another column with --label",
    )


def _refuse_missing(spelled: Sequence[str | None], where: Sequence[str]) -> None:
    bare = [at for text, at in zip(spelled, where, strict=True) if text is None]
    if bare:
        more = f" and {len(bare) - _SHOWN} more" if len(bare) > _SHOWN else ""
        raise DataError(
            "rows have no label",
            got=", ".join(bare[:_SHOWN]) + more,
            allowed="a label in every row (not empty, NaN or null)",
            next_step="label these rows or remove them",
        )


def _named(texts: Sequence[str], where: Sequence[str], names: Sequence[str]) -> list[str]:
    by_number = {str(i): str(name) for i, name in enumerate(names)}
    known = {**{str(name): str(name) for name in names}, **by_number}
    for text, at in zip(texts, where, strict=True):
        if text not in known:
            raise DataError(
                "a label is outside the classes that the file declares",
                got=f"{at}: {text}",
                allowed=[f"{i} ({name})" for i, name in enumerate(names)],
                next_step="remove the row; -1 usually marks a split without labels",
            )
    return [known[text] for text in texts]


def _respelled(label_map: Mapping[str, str]) -> dict[str, str]:
    return {_spelled(value, "label map") or value: name for value, name in label_map.items()}


def _idle_entries(texts: Sequence[str], label_map: Mapping[str, str]) -> tuple[Text, ...]:
    """Labels that the map names and no row has."""
    idle = sorted(_respelled(label_map).keys() - set(texts))
    if not idle:
        return ()
    return (
        Text(
            f"the label map names labels that no row has: {', '.join(idle)}",
            f"标签映射中有数据里不存在的标签：{'、'.join(idle)}",
        ),
    )


def _mapped(texts: Sequence[str], label_map: Mapping[str, str]) -> list[str]:
    label_map = _respelled(label_map)
    missing = sorted({text for text in texts if text not in label_map})
    if missing:
        raise DataError(
            "the label map has no entry for a label in the data",
            got=", ".join(missing[:_SHOWN]),
            allowed=[f"{old} (to {new})" for old, new in label_map.items()],
            next_step=closest(missing[0], label_map)
            or f"add {missing[0]}=CLASS to the label map, with a --label-map for each label",
        )
    return [label_map[text] for text in texts]


def _merge_spellings(texts: Sequence[str]) -> tuple[list[str], tuple[Text, ...]]:
    """Spellings that differ only by case or spaces become the most frequent one."""
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for text in texts:
        spellings[" ".join(text.casefold().split())][text] += 1
    kept = {key: max(sorted(count), key=lambda t, c=count: c[t]) for key, count in spellings.items()}  # type: ignore[misc]
    merged = [sorted(count) for count in spellings.values() if len(count) > 1]
    warnings = tuple(
        Text(
            f"labels that differ only by case or spaces are taken as one class: {', '.join(group)}",
            f"仅大小写或空格不同的标签视为同一类别：{'、'.join(group)}",
        )
        for group in merged
    )
    return [kept[" ".join(text.casefold().split())] for text in texts], warnings


def _ordered(names: set[str]) -> tuple[str, ...]:
    if all(re.fullmatch(r"-?\d+", name) for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


def _check_classes(texts: Sequence[str], where: Sequence[str]) -> None:
    count = Counter(texts)
    if len(count) < 2:
        raise DataError(
            "all rows have the same label",
            got=f"{texts[0]} ({len(texts)} rows)",
            allowed="at least two classes",
            next_step="add rows of another class, or name another column with --label",
        )
    if len(count) > MOST_CLASSES or (len(count) > 10 and len(texts) < 2 * len(count)):
        raise DataError(
            "the labels look like ids or free text, not like classes",
            got=f"{len(count)} different labels in {len(texts)} rows",
            allowed=f"up to {MOST_CLASSES} classes with two rows each on average",
            next_step="name the column that holds the class with --label",
        )


def _refuse_unseen(texts: Sequence[str], where: Sequence[str], parts: Sequence[SplitName]) -> None:
    seen = {text for text, part in zip(texts, parts, strict=True) if part == "train"}
    for text, at, part in zip(texts, where, parts, strict=True):
        if text not in seen:
            raise DataError(
                f"the {part} split has a label that train does not have",
                got=f"{at}: {text}",
                allowed=sorted(seen),
                next_step=closest(text, seen) or "add training rows of this class or remove the row",
            )
