"""`Subject`: the model as it travels through a recipe. `Session`: a model that can run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tiku.core.generation import Generated

__all__ = ["Numerics", "Predictor", "Rows", "Serve", "Session", "Subject"]


@dataclass(frozen=True)
class Numerics:
    """The number format that the runtime is asked to store weights in and to multiply with.

    `scheme` is "fp32", "int8-dynamic", …; `options` are the method's own (per_channel, …).
    """

    scheme: str = "fp32"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Serve:
    """How requests become batches. `token_budget` caps padded tokens per batch; None: `batch_size`
    alone decides. `sort_by_length` groups requests of like length (outputs keep the input order).
    `threads` None means every physical core. `max_length` None means the model's own limit. Classifiers:
    `streams` batches run at once, each with its share of the threads.

    Language models: `speculation` names what drafts tokens ("prompt-lookup"; "self-speculative": the
    first `draft_layers` layers; None: nothing does), at most `draft_tokens` at a time. `slots` requests
    are decoded at once.

    `environment`: variables that the serving process must be started with (`tiku.core.startup`).
    `memory`: settings of batches that stay within a limit (`tiku.artefact.adaptive`); empty: no limit."""

    batch_size: int = 32
    token_budget: int | None = None
    sort_by_length: bool = False
    threads: int | None = None
    max_length: int | None = None
    speculation: str | None = None
    draft_tokens: int = 8
    draft_layers: int | None = None
    slots: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    memory: Mapping[str, float] = field(default_factory=dict)
    streams: int = 1


@dataclass(frozen=True)
class Subject:
    """A model with its processor and everything the methods of a recipe have decided so far.

    Methods return a changed copy (`dataclasses.replace`); a method that changes weights works on
    a copy of `module`. `module` is a `torch.nn.Module` in eval mode on the CPU; `processor` is what
    the family encodes with. `facts` holds JSON values worth keeping (epochs trained, skipped layers).
    """

    task: str
    family: str
    module: Any
    processor: Any
    labels: tuple[str, ...] = ()
    runtime: str = "torch"
    runtime_options: Mapping[str, Any] = field(default_factory=dict)
    numerics: Numerics = field(default_factory=Numerics)
    serve: Serve = field(default_factory=Serve)
    facts: Mapping[str, Any] = field(default_factory=dict)


class Session(ABC):
    """A built model inside its runtime. Arrays in, arrays out; one session per process at a time.

    `streams` calls of `run` may be made at once, from as many threads.
    Shape letters: B batch, T tokens, C classes, V vocabulary.
    """

    runtime: str
    streams: int = 1

    @abstractmethod
    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """One forward pass. Text classification: logits_BC. Causal language model: logits_BTV."""

    def extend(
        self, tokens_BT: NDArray[np.int64], cache: Any = None, *, last_only: bool = False
    ) -> tuple[NDArray[np.float32], Any]:
        """Causal language models: feed tokens after a cache; logits_BTV (or logits_B1V) and the new cache.

        The cache is opaque and may be changed in place; `None` starts a new sequence. Raises
        `CannotMeasure` in runtimes that keep no cache.
        """
        from tiku.core.errors import CannotMeasure

        raise CannotMeasure(
            "this runtime keeps no key/value cache",
            got=self.runtime,
            next_step="generate with a runtime that does, such as torch",
        )

    def crop(self, cache: Any, length: int) -> Any:
        """Cut a cache of `extend` back to its first `length` tokens; it may be changed in place.

        Who will cut a cache crops it once to its whole length first: some caches must be told, and one
        that cannot be cut says so then. Raises `CannotMeasure`.
        """
        from tiku.core.errors import CannotMeasure

        raise CannotMeasure(
            "this runtime cannot cut a key/value cache back",
            got=self.runtime,
            next_step="decode without a draft, or with a runtime that can, such as torch",
        )

    def early_exit(self, layers: int) -> Session:
        """The same model after its first `layers` layers, with its own head, sharing the weights; its
        caches are its own. Raises `CannotMeasure`."""
        from tiku.core.errors import CannotMeasure

        raise CannotMeasure(
            "this runtime runs all layers or none",
            got=self.runtime,
            next_step="let nothing draft, or use the runtime torch",
        )

    def rows(self, longest: Sequence[int]) -> Rows:
        """Causal language models: room for rows of at most these many tokens, extended together.

        Raises `CannotMeasure` where the runtime or the model cannot.
        """
        from tiku.core.errors import CannotMeasure

        raise CannotMeasure(
            "this runtime cannot answer requests of different lengths at once",
            got=self.runtime,
            next_step="answer one request at a time, or use a runtime that can, such as torch",
        )

    def close(self) -> None:  # noqa: B027 - most sessions hold nothing that needs freeing
        """Free what the session holds; a closed session is not used again."""


class Rows(ABC):
    """Sequences of different lengths in one session, that enter and leave while others go on.

    Shape letters: R rows, V vocabulary.
    """

    @abstractmethod
    def enter(self, tokens: Sequence[int]) -> tuple[int, NDArray[np.float32]]:
        """A new row's number, and logits_V after its tokens (one or more)."""

    @abstractmethod
    def step(self, tokens: Mapping[int, int]) -> NDArray[np.float32]:
        """Feed one token to each of these rows; logits_RV in their order."""

    @abstractmethod
    def leave(self, row: int) -> None:
        """Free what the row holds; its number is not used again."""

    @abstractmethod
    def report(self) -> dict[str, Any]:
        """JSON values: how full the cache was, and how much of it was wasted."""


class Predictor(Protocol):
    """An opened artefact: encodes, batches as its `Serve` says, runs, restores the order. `processor`
    is what its family encodes with; `cache_report` tells of the last `complete` of several at once."""

    folder: Path
    task: str
    family: str
    labels: tuple[str, ...]
    serve: Serve
    session: Session
    processor: Any
    cache_report: Mapping[str, Any]

    def predict(self, inputs: Sequence[Any]) -> NDArray[np.float32]:
        """logits_NC for classification."""
        ...

    def encode(self, inputs: Sequence[Any]) -> list[dict[str, list[int]]]:
        """One unpadded encoding per input."""
        ...

    def complete(
        self, prompts: Sequence[str], max_tokens: int | Sequence[int], *, past_end: bool = False
    ) -> list[Generated]:
        """Greedy continuations, decoded as `serve` says; `past_end` goes on after the end token."""
        ...

    def close(self) -> None:
        """Close the session."""
        ...
