"""Batches bounded by tokens instead of texts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support

__all__ = ["METHOD", "TokenBudget"]


@dataclass(frozen=True)
class TokenBudget(Method):
    """Fill each batch up to a number of padded tokens: many short texts, or few long ones.

    The work and the memory of a batch stay alike whatever the lengths; sorting is included, since a
    budget over unsorted texts would mostly pay for padding.
    """

    name: ClassVar[str] = "token-budget"
    promise: ClassVar[float] = 0.9
    stage: ClassVar[Stage] = "serve"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory", "energy")
    title: ClassVar[Text] = Text("Token-budget batches", "按词元预算组批")
    source: ClassVar[str] = "Ott et al. 2019, fairseq (--max-tokens)"
    tasks: ClassVar[frozenset[str]] = frozenset({"text-classification"})

    tokens: int = param(1024, "padded tokens per batch", low=16, high=1_000_000)

    def supports(self, subject: Subject) -> Support:
        return Support.yes()

    def apply(self, subject: Subject, context: Context) -> Subject:
        serve = replace(subject.serve, token_budget=self.tokens, sort_by_length=True)
        return replace(subject, serve=serve)

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        """4096 was slower than 1024 in every runtime (minilm, 1 MB of second-level cache per core)."""
        sizes = (1024,) if situation.budget == "quick" else (1024, 512, 256)
        return tuple(cls(tokens) for tokens in sizes)


METHOD = TokenBudget
