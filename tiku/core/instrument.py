"""`Instrument`: measures one or more metrics of an opened model, against the base where there is one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from tiku.core import registry
from tiku.core.data import Dataset
from tiku.core.measured import Measured
from tiku.core.method import Progress, silent
from tiku.core.metric import Metric
from tiku.core.protocol import Protocol
from tiku.core.subject import Predictor
from tiku.core.text import Text
from tiku.core.verdict import Comparison, Support

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Instrument", "Reading", "Workbench", "all_metrics"]


@dataclass(frozen=True)
class Workbench:
    """Everything an instrument may look at.

    `base` is None when the candidate is the base itself. `base_arrays` are the arrays that the
    same instrument kept when it measured the base on the same data (empty for the base). `train` holds
    the train part of each dataset of `data`, in the same order: worked examples for a prompt come from
    there.
    """

    candidate: Predictor
    base: Predictor | None
    data: tuple[Dataset, ...]
    protocol: Protocol
    base_arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    progress: Progress = silent
    train: tuple[Dataset, ...] = ()

    def dataset(self, kind: str) -> Dataset | None:
        """The first dataset of a kind ("labelled texts", "prose", "choices")."""
        return next((d for d in self.data if d.kind == kind), None)

    def train_of(self, kind: str) -> Dataset | None:
        """The train part of what `dataset` gives; None where there is none, or nothing in it."""
        return next((t for t in self.train if t.kind == kind and len(t)), None)


@dataclass(frozen=True)
class Reading:
    """What an instrument found. `details` are JSON values for plots and tables; `arrays` are kept
    beside the result so that later trials can be paired with it."""

    metrics: Mapping[str, Measured]
    against_base: Mapping[str, Comparison] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    warnings: tuple[Text, ...] = ()


class Instrument(ABC):
    """A subclass in a file of its own under `tiku/measure/instruments`, exported as `INSTRUMENT`.

    `cost_rank` orders the instruments of a trial (cheap and decisive first).
    """

    name: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]
    cost_rank: ClassVar[int] = 50
    on_items: ClassVar[bool] = False  # whether the numbers depend on which examples are judged

    @abstractmethod
    def supports(self, bench: Workbench) -> Support:
        """Whether this instrument has something to measure here."""

    @abstractmethod
    def measure(self, bench: Workbench) -> Reading:
        """Measure. Raises `CannotMeasure` (also `TooNoisy`) when no honest number can be given."""


def all_metrics() -> dict[str, Metric]:
    """Every metric of every registered instrument, by name. Imports the instruments' modules."""
    found: dict[str, Metric] = {}
    for name in registry.names("metrics"):
        instrument: Instrument = registry.get("metrics", name)
        found |= {metric.name: metric for metric in instrument.metrics}
    return found
