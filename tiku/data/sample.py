"""`Sample`: data or a model that comes as an archive, with its licence and where it is from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tiku.core.errors import DataError
from tiku.core.method import Progress, silent
from tiku.core.text import Text
from tiku.data.archives import Archive, fetch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tiku.data.loaded import LoadedData
    from tiku.data.table import Table

__all__ = ["ArraySample", "DataSample", "ModelSample", "Sample"]


@dataclass(frozen=True)
class Sample:
    """What every sample says about itself. `caveats` are shown wherever its numbers are."""

    kind: Literal["data", "model"]
    name: str
    title: Text
    task: str
    licence: str
    provenance: Text
    archive: Archive
    caveats: tuple[Text, ...] = ()

    def fetch(self, *, progress: Progress = silent, cache: Path | None = None) -> Path:
        """The local folder with the sample's files, checked. Raises as `tiku.data.archives.fetch`."""
        return fetch(self.archive, cache=cache, progress=progress)

    def load(
        self, *, task: str | None = None, progress: Progress = silent, cache: Path | None = None
    ) -> LoadedData:
        """The sample as data to be examined on. Raises `DataError` for a model."""
        raise DataError(
            "this sample is a model, not data",
            got=f"sample:{self.name}",
            allowed="a data sample (tiku samples lists which is which)",
            next_step=f"give it as the model: tiku exam sample:{self.name} --data …",
        )


@dataclass(frozen=True)
class DataSample(Sample):
    """Labelled texts, prose or choices. `read` turns the fetched folder into a table."""

    read: Callable[[Path], Table] | None = None

    def load(
        self, *, task: str | None = None, progress: Progress = silent, cache: Path | None = None
    ) -> LoadedData:
        """The dataset with its provenance and caveats in the report. Raises as `fetch`."""
        from dataclasses import replace

        from tiku.data.columns import Columns
        from tiku.data.shaping import shape

        assert self.read is not None
        loaded = shape(self.read(self.fetch(progress=progress, cache=cache)), Columns(), task)
        facts = {
            **loaded.report.facts,
            "sample": self.name,
            "licence": self.licence,
            "provenance": self.provenance.en,
        }
        origin = Text(
            f"sample {self.name}: {self.licence}; {self.provenance.en}",
            f"样例 {self.name}：{self.licence}；{self.provenance.zh}",
        )
        report = replace(
            loaded.report,
            facts=facts,
            guesses=(origin, *loaded.report.guesses),
            warnings=(*loaded.report.warnings, *self.caveats),
        )
        return replace(loaded, report=report)


@dataclass(frozen=True)
class ArraySample(Sample):
    """Images or tables, as arrays; the families that are examined on them are not built yet."""

    read: Callable[[Path], dict[str, NDArray]] | None = None  # type: ignore[type-arg]

    def arrays(self, *, progress: Progress = silent, cache: Path | None = None) -> dict[str, NDArray]:  # type: ignore[type-arg]
        """The arrays by name; the sample's own file says shapes and units. Raises as `fetch`."""
        assert self.read is not None
        return self.read(self.fetch(progress=progress, cache=cache))

    def load(
        self, *, task: str | None = None, progress: Progress = silent, cache: Path | None = None
    ) -> LoadedData:
        """Raises `DataError`: no model family reads these data yet."""
        raise DataError(
            f"no model can be examined on {self.task} data yet",
            got=f"sample:{self.name}",
            allowed="text-classification and causal-lm data",
            next_step=f'its arrays can be had: tiku.core.registry.get("samples", "{self.name}").arrays()',
        )


@dataclass(frozen=True)
class ModelSample(Sample):
    """A pretrained model. `entry` is the file in the folder that names it; "" is the folder itself."""

    entry: str = ""

    def fetch(self, *, progress: Progress = silent, cache: Path | None = None) -> Path:
        """The transformers folder, or the GGUF file. Raises as `tiku.data.archives.fetch`."""
        folder = fetch(self.archive, cache=cache, progress=progress)
        return folder / self.entry if self.entry else folder
