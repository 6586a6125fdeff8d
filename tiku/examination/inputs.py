"""Model and data from the plan's plain values: the same in the exam and in every trial process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tiku.core import registry
from tiku.core.data import SPLIT_NAMES, Splits
from tiku.core.errors import BadInput, ModelError
from tiku.core.family import Family
from tiku.core.hashing import hash_of
from tiku.core.method import Progress, silent
from tiku.core.subject import Subject
from tiku.data.archives import cache_folder
from tiku.examination.timeline import Timeline

__all__ = ["Inputs", "load_inputs", "model_path", "remark_on"]

_EXAMPLES = 16  # inputs kept in an artefact for its own check
_EXAMPLE_CHARACTERS = 500


@dataclass(frozen=True)
class Inputs:
    """Where the model lies, what loads it, and the split data."""

    source: str
    family: Family
    splits: tuple[Splits, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The data's classes; empty where there are none."""
        return next((s.train.classes() for s in self.splits if s.train.classes()), ())

    def data_sha(self) -> str:
        """One hash over every split of every dataset."""
        return hash_of([[s[n].sha256() for n in SPLIT_NAMES] for s in self.splits])

    def model_sha(self) -> str:
        """The family's fingerprint of the weights."""
        return self.family.fingerprint(self.source)

    def load_subject(self, seed: int) -> Subject:
        """The model as given, with a head for the data's labels."""
        return self.family.load(self.source, labels=self.labels, cache=cache_folder(), seed=seed)

    def examples(self) -> Sequence[Any]:
        """A few inputs on which an artefact can be checked later; long texts are cut short."""
        found = list(self.splits[0].calibration.inputs()[:_EXAMPLES])
        return [x[:_EXAMPLE_CHARACTERS] if isinstance(x, str) else x for x in found]


def load_inputs(values: Mapping[str, Any], progress: Progress = silent) -> Inputs:
    """Load and split the data, find the model's family. Raises `BadInput` of some kind."""
    from tiku import data, models

    loaded = data.load(
        tuple(values["data"]),
        columns=data.Columns(**values["columns"]),
        task=values["task"],
        progress=progress,
    )
    splits = tuple(data.split(one, seed=values["seed"]) for one in loaded)
    source = model_path(values["model"], progress)
    family = models.resolve(source, values["task"] or _task_of(splits))
    _check_fit(family, splits)
    return Inputs(source, family, splits)


def remark_on(inputs: Inputs, timeline: Timeline) -> None:
    """Say what was guessed about the data and what is wrong with them, before any time is spent."""
    for splits in inputs.splits:
        for text in (*splits.report.guesses, *splits.report.warnings):
            timeline.remark(text)


def model_path(spec: str, progress: Progress = silent) -> str:
    """Where a model lies; a sample is fetched on first use. Raises `UnknownName`, `ModelError`."""
    if not spec.startswith("sample:"):
        return spec
    sample = registry.get("samples", spec.removeprefix("sample:"))
    if sample.kind != "model":
        raise ModelError(
            "this sample is data, not a model", got=spec, allowed="sample:minilm, sample:smollm2",
            next_step="tiku samples lists which is which",
        )  # fmt: skip
    return str(sample.fetch(progress=progress))


def _task_of(splits: Sequence[Splits]) -> str | None:
    """The one task that all data serve."""
    shared = frozenset.intersection(*(s.train.tasks for s in splits))
    if not shared:
        kinds = ", ".join(f"{s.name}: {s.train.kind}" for s in splits)
        raise BadInput(
            "these data serve different tasks",
            got=kinds,
            allowed="data of one task",
            next_step="examine them one by one",
        )
    return next(iter(shared)) if len(shared) == 1 else None


def _check_fit(family: Family, splits: Sequence[Splits]) -> None:
    unfit = [s for s in splits if s.train.kind not in family.data_kinds]
    if unfit:
        raise BadInput(
            f"a {family.title.en} model is not examined on {unfit[0].train.kind}",
            got=unfit[0].name,
            allowed=sorted(family.data_kinds),
            next_step="choose data of this kind, or --task for another use of the model",
        )
