"""Several requests decoded at once, each entering and leaving the batch on its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.serving._decoding import shares_batches

__all__ = ["METHOD", "ContinuousBatching"]


@dataclass(frozen=True)
class ContinuousBatching(Method):
    """One forward pass gives a token to each of up to `slots` requests, so the weights are read once for
    all of them. Keys and values live in a paged pool; prompts that begin alike share its blocks.
    Single requests are not faster.
    """

    name: ClassVar[str] = "continuous-batching"
    promise: ClassVar[float] = 0.84
    stage: ClassVar[Stage] = "serve"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory", "energy")
    title: ClassVar[Text] = Text("Continuous batching", "连续批处理")
    source: ClassVar[str] = "Yu et al. 2022, Orca; Kwon et al. 2023, PagedAttention"
    tasks: ClassVar[frozenset[str]] = frozenset({"causal-lm"})
    slot: ClassVar[str | None] = "decoding"

    slots: int = param(8, "requests decoded at once", low=2, high=1024)

    def supports(self, subject: Subject) -> Support:
        return shares_batches(subject)

    def apply(self, subject: Subject, context: Context) -> Subject:
        return replace(subject, serve=replace(subject.serve, slots=self.slots))

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        return (cls(),)


METHOD = ContinuousBatching
