"""Texts, or pairs of texts, each with one class."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tiku.core.data import Dataset
from tiku.core.hashing import hash_of
from tiku.data.normal import normal

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LabelledTexts"]


@dataclass(frozen=True, eq=False)
class LabelledTexts(Dataset):
    """N texts with class indices `labels` (int64, shape N) into `class_names`.

    `pairs` holds the second text of each example, where there is one. `length_bounds` are the two
    character counts that cut short, medium and long; they are set once for the whole dataset, so
    that a slice means the same in every split.
    """

    kind: ClassVar[str] = "labelled texts"
    tasks: ClassVar[frozenset[str]] = frozenset({"text-classification"})

    name: str
    texts: tuple[str, ...]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    pairs: tuple[str, ...] | None = None
    group_ids: tuple[Hashable, ...] | None = None
    slice_columns: Mapping[str, tuple[Hashable, ...]] = field(default_factory=dict)
    length_bounds: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> Self:
        """The examples at these positions, in this order."""
        at = [int(i) for i in indices]
        return replace(
            self,
            texts=_pick(self.texts, at),
            labels=self.labels[np.asarray(at, dtype=np.int64)],
            pairs=_pick(self.pairs, at),
            group_ids=_pick(self.group_ids, at),
            slice_columns={name: _pick(values, at) for name, values in self.slice_columns.items()},
            length_bounds=self.length_bounds or length_bounds(self.texts, self.pairs),
        )

    def sha256(self) -> str:
        """Hash of class names, texts, labels, groups and slices."""
        groups = None if self.group_ids is None else [str(g) for g in self.group_ids]
        slices = {name: [str(v) for v in values] for name, values in self.slice_columns.items()}
        labels = self.labels.tolist()
        return hash_of(self.kind, self.class_names, self.texts, self.pairs, labels, groups, slices)

    def keys(self) -> Sequence[str]:
        """The normalised text, or both texts."""
        if self.pairs is None:
            return [normal(text) for text in self.texts]
        return [f"{normal(a)}\x1f{normal(b)}" for a, b in zip(self.texts, self.pairs, strict=True)]

    def inputs(self) -> Sequence[Any]:
        """One `text`, or one `(text, pair)`, per example."""
        return self.texts if self.pairs is None else list(zip(self.texts, self.pairs, strict=True))

    def targets(self) -> NDArray[np.int64] | None:
        """Class index per example."""
        return self.labels

    def classes(self) -> tuple[str, ...]:
        """Class names in index order."""
        return self.class_names

    def groups(self) -> Sequence[Hashable] | None:
        """Group per example, where the data name one."""
        return self.group_ids

    def slices(self) -> dict[str, Sequence[Hashable]]:
        """ "length" (terciles of the characters), and the columns asked for."""
        short, long = self.length_bounds or length_bounds(self.texts, self.pairs)
        sizes = _sizes(self.texts, self.pairs)
        names = ["short" if n <= short else "long" if n > long else "medium" for n in sizes]
        return {"length": names, **self.slice_columns}


def length_bounds(texts: Sequence[str], pairs: Sequence[str] | None) -> tuple[int, int]:
    """The lengths in characters up to which a text is short, and above which it is long."""
    if not texts:
        return (0, 0)
    sizes = np.asarray(_sizes(texts, pairs))
    low, high = np.quantile(sizes, [1 / 3, 2 / 3], method="inverted_cdf")
    return int(low), int(high)


def _sizes(texts: Sequence[str], pairs: Sequence[str] | None) -> list[int]:
    if pairs is None:
        return [len(text) for text in texts]
    return [len(a) + len(b) for a, b in zip(texts, pairs, strict=True)]


def _pick(values: Any, at: Sequence[int]) -> Any:
    return None if values is None else tuple(values[i] for i in at)
