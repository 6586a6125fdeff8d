"""What loading gives: a dataset, what was found, and the splits its source came with."""

from __future__ import annotations

from dataclasses import dataclass, field

from tiku.core.data import DataReport, Dataset, SplitName

__all__ = ["LoadedData"]


@dataclass(frozen=True)
class LoadedData:
    """A dataset before it is split. `parts` names the split each example came in, where the source
    (train and test files, a split column, a dataset dict) has splits of its own."""

    dataset: Dataset
    report: DataReport = field(default_factory=DataReport)
    parts: tuple[SplitName, ...] | None = None
