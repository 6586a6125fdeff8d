"""`Runtime`: how a built model is written to files, opened and executed."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tiku.core.subject import Numerics, Session, Subject
from tiku.core.text import Text
from tiku.core.verdict import Support

__all__ = ["Runtime"]


class Runtime(ABC):
    """A subclass in a file of its own under `tiku/runtimes`, exported as `RUNTIME`."""

    name: ClassVar[str]
    title: ClassVar[Text]
    extra: ClassVar[str | None] = None  # the optional dependency it needs
    modules: ClassVar[tuple[str, ...]] = ()  # import names that must be there
    crops: ClassVar[bool] = False  # whether its sessions can cut a key/value cache back
    batches: ClassVar[bool] = False  # whether they decode requests of different lengths at once
    streams: ClassVar[bool] = False  # whether they run several batches at once: option "streams" of `open`

    @abstractmethod
    def supports(self, subject: Subject) -> Support:
        """Whether this subject (task, numerics, architecture) can be built here."""

    def decodes_together(self, subject: Subject) -> Support:
        """Whether what `save` writes of this language model decodes requests of different lengths at once.
        Asked only where `batches` says that the runtime can at all, and torch could with this module."""
        return Support.yes()

    def import_for(self, folder: Path) -> None:
        """Import what opening this folder will: otherwise its memory would be taken for that of the weights.
        Raises `ImportError`."""
        for name in self.modules:
            importlib.import_module(name)

    def computes_correctly(self, numerics: Numerics) -> Support:
        """Whether this processor computes these numerics rightly; asked before an artefact is opened, which
        may have been built on another."""
        return Support.yes()

    @abstractmethod
    def save(self, subject: Subject, folder: Path) -> Mapping[str, Any] | None:
        """Write the files this runtime opens; loadable without tiku. What it measured on the way, as JSON
        values, is kept in the artefact's `facts["built"]`."""

    @abstractmethod
    def open(
        self, folder: Path, *, task: str, options: Mapping[str, Any], threads: int, device: str
    ) -> Session:
        """Open what `save` wrote. Raises `ArtefactError`."""
