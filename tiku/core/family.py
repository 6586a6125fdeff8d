"""`Family`: how a kind of model is recognised, loaded, encoded, collated and saved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tiku.core.subject import Subject
from tiku.core.text import Text

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Family"]


class Family(ABC):
    """A subclass in a file of its own under `tiku/models`, exported as `FAMILY`."""

    name: ClassVar[str]
    task: ClassVar[str]
    title: ClassVar[Text]
    data_kinds: ClassVar[frozenset[str]]  # Dataset.kind values it can be examined on

    @abstractmethod
    def recognises(self, source: str) -> bool:
        """Whether this family can load the source (a folder, a hub id, a file, "module:function"). Cheap."""

    @abstractmethod
    def load(self, source: str, *, labels: tuple[str, ...] = (), cache: Path, seed: int = 0) -> Subject:
        """Load from a source. `labels` are the data's classes: a missing or misfitting head is made
        anew from `seed` and `facts["head"]` says "new". Raises `ModelError`."""

    @abstractmethod
    def fingerprint(self, source: str) -> str:
        """SHA-256 over the weights and the config, without loading the model."""

    @abstractmethod
    def save(self, subject: Subject, folder: Path) -> None:
        """Write module and processor in the format the field reads without tiku."""

    @abstractmethod
    def save_processor(self, subject: Subject, folder: Path) -> None:
        """Write the processor alone (for artefacts whose weights a runtime wrote)."""

    @abstractmethod
    def load_processor(self, folder: Path) -> Any:
        """Read what `save_processor` wrote."""

    @abstractmethod
    def encode(
        self, processor: Any, inputs: Sequence[Any], max_length: int | None
    ) -> list[dict[str, list[int]]]:
        """One unpadded encoding per input."""

    @abstractmethod
    def collate(
        self, processor: Any, encodings: Sequence[Mapping[str, list[int]]]
    ) -> dict[str, NDArray[Any]]:
        """Pad one batch to its longest member."""
