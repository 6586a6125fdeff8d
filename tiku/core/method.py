"""`Method`: one thing that can be done to a model. A subclass in a file of its own is registered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from tiku.core.data import Splits
from tiku.core.protocol import Protocol
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support

__all__ = ["STAGES", "Context", "Method", "Progress", "Situation", "Stage", "silent"]

Stage = Literal["train", "compress", "compile", "serve"]
STAGES: tuple[Stage, ...] = get_args(Stage)

Progress = Callable[[float, float, str], None]  # done, total, note


def silent(done: float, total: float, note: str) -> None:
    """A progress receiver that shows nothing."""


@dataclass(frozen=True)
class Context:
    """What a method may use while it is applied. `splits` never contains the test part's labels
    for a method: methods read `train` and `calibration`, and `validation` only to select."""

    splits: tuple[Splits, ...]
    protocol: Protocol
    workdir: Path
    progress: Progress = silent


@dataclass(frozen=True)
class Situation:
    """What is known before anything runs; methods and questions propose from it.

    `parameters` counts weights; `facts` are JSON values (layers, hidden size, mean tokens).
    """

    task: str
    family: str
    device: str
    parameters: int
    labels: tuple[str, ...] = ()
    split_sizes: Mapping[str, int] = field(default_factory=dict)
    budget: str = "standard"
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Method(ABC):
    """A method and its config in one frozen dataclass: the fields are the config.

    A subclass declares the class variables, its fields through `tiku.core.config.param`, and is
    exported from its module as `METHOD`. `name` equals the file's name with hyphens.
    """

    name: ClassVar[str]
    stage: ClassVar[Stage]
    questions: ClassVar[tuple[str, ...]]
    title: ClassVar[Text]
    source: ClassVar[str]  # the paper or the documentation
    extra: ClassVar[str | None] = None  # the optional dependency it needs
    tasks: ClassVar[frozenset[str]] = frozenset()  # empty: every task
    slot: ClassVar[str | None] = None  # methods of one slot exclude each other ("runtime")
    promise: ClassVar[float] = 0.5  # 0 … 1, what is expected before measuring: orders the trials
    slow: ClassVar[bool] = False  # minutes to build or open: tried after everything else

    @abstractmethod
    def supports(self, subject: Subject) -> Support:
        """Whether this config can be applied to this subject on this machine. Cheap."""

    @abstractmethod
    def apply(self, subject: Subject, context: Context) -> Subject:
        """The changed subject. The input subject, its module included, stays untouched."""

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        """The configs worth trying here, best first; () when none is worth a trial."""
        return (cls(),)

    @classmethod
    def why_not(cls, situation: Situation) -> Text | None:
        """Why `candidates` is empty, where neither task nor budget nor a missing package says it."""
        return None

    @classmethod
    def remark(cls, facts: Mapping[str, Any]) -> Text | None:
        """What a reader of the answer must know of a build with this method, from the subject's facts: how
        far it came, which of its guards fired. None: nothing."""
        return None
