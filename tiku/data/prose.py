"""Running text for language modelling."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, ClassVar, Self

from tiku.core.data import Dataset
from tiku.core.hashing import hash_of
from tiku.data.normal import normal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Prose"]

_BREAK = re.compile(r"(?<=\n)\n+|(?<=[.!?。！？])\s+")


@dataclass(frozen=True)
class Prose(Dataset):
    """Documents (articles, chapters, files) with their titles. A document is never split between
    train and test, unless there are so few that it must be (see `passages`). `cut` says that
    neighbours of one title are consecutive pieces of one text."""

    kind: ClassVar[str] = "prose"
    tasks: ClassVar[frozenset[str]] = frozenset({"causal-lm"})

    name: str
    documents: tuple[str, ...]
    titles: tuple[str, ...]
    cut: bool = False

    def __len__(self) -> int:
        return len(self.documents)

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> Self:
        """The documents at these positions, in this order."""
        at = [int(i) for i in indices]
        return replace(
            self,
            documents=tuple(self.documents[i] for i in at),
            titles=tuple(self.titles[i] for i in at),
        )

    def sha256(self) -> str:
        """Hash of the documents; titles do not count."""
        return hash_of(self.kind, self.documents)

    def keys(self) -> Sequence[str]:
        """The normalised document."""
        return [normal(document) for document in self.documents]

    def inputs(self) -> Sequence[str]:
        """The documents."""
        return self.documents

    def groups(self) -> Sequence[Hashable] | None:
        """The title: passages cut from one document carry the same one."""
        return self.titles

    def characters(self) -> int:
        """Characters over all documents."""
        return sum(map(len, self.documents))

    def passages(self, size: int) -> Prose:
        """Every document cut at blank lines or sentence ends into pieces of about `size` characters.

        Joined again, the pieces of a document give the document.
        """
        cut = [
            (piece, title)
            for document, title in zip(self.documents, self.titles, strict=True)
            for piece in _pieces(document, size)
        ]
        return Prose(self.name, tuple(piece for piece, _ in cut), tuple(title for _, title in cut), cut=True)

    def whole(self) -> Prose:
        """Consecutive pieces of one text put together again; documents that were never cut as they are."""
        if not self.cut:
            return self
        runs = [list(run) for _, run in groupby(range(len(self)), key=lambda i: self.titles[i])]
        texts = tuple("".join(self.documents[i] for i in run) for run in runs)
        return Prose(self.name, texts, tuple(self.titles[run[0]] for run in runs))


def _pieces(document: str, size: int) -> Iterator[str]:
    start = last = 0
    for end in [*(match.end() for match in _BREAK.finditer(document)), len(document)]:
        while end - start > 2 * size:  # no break for long: cut where the size is reached
            stop = last if last > start else start + size
            yield document[start:stop]
            start = stop
        if end - start >= size:
            yield document[start:end]
            start = end
        last = end
    if start < len(document):
        yield document[start:]
