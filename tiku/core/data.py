"""`Dataset`: examples of one kind. `Splits`: the four parts an exam uses. No torch, no readers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

from tiku.core.text import Text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["SPLIT_NAMES", "DataReport", "Dataset", "SplitName", "Splits"]

SplitName = Literal["train", "calibration", "validation", "test"]
SPLIT_NAMES: tuple[SplitName, ...] = get_args(SplitName)


class Dataset(ABC):
    """An immutable sequence of examples of one kind ("labelled texts", "prose", "choices", …).

    `tasks` names the tasks it can serve as data for.
    """

    kind: ClassVar[str]
    tasks: ClassVar[frozenset[str]]
    name: str

    @abstractmethod
    def __len__(self) -> int:
        """Number of examples."""

    @abstractmethod
    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> Self:
        """The examples at these positions, in this order."""

    @abstractmethod
    def sha256(self) -> str:
        """Hash of names, labels and contents; independent of where the file lay."""

    @abstractmethod
    def keys(self) -> Sequence[str]:
        """One string per example, equal for examples that count as duplicates."""

    def inputs(self) -> Sequence[Any]:
        """What a model's family encodes, one per example."""
        raise TypeError(f"{self.kind} has no model inputs")

    def targets(self) -> NDArray[np.int64] | None:
        """Class index per example, or None where there are no classes."""
        return None

    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the class indices; empty where there are none."""
        return ()

    def groups(self) -> Sequence[Hashable] | None:
        """Group per example (author, document, patient); examples of a group stay in one split."""
        return None

    def slices(self) -> dict[str, Sequence[Hashable]]:
        """Named partitions whose parts are judged one by one (for example {"length": …})."""
        return {}


@dataclass(frozen=True)
class DataReport:
    """What was found while reading and splitting, for people; every line is also a caveat."""

    facts: dict[str, Any] = field(default_factory=dict)  # JSON values: duplicates dropped, class counts, …
    guesses: tuple[Text, ...] = ()  # which columns and labels were taken, and why
    warnings: tuple[Text, ...] = ()  # imbalance, label problems, leaks


@dataclass(frozen=True)
class Splits:
    """One dataset, split once. The test part is read once, at the very end."""

    name: str
    train: Dataset
    calibration: Dataset
    validation: Dataset
    test: Dataset
    seed: int
    report: DataReport = field(default_factory=DataReport)

    def __getitem__(self, name: SplitName) -> Dataset:
        part: Dataset = getattr(self, name)
        return part

    def sizes(self) -> dict[str, int]:
        """Examples per split."""
        return {name: len(self[name]) for name in SPLIT_NAMES}
