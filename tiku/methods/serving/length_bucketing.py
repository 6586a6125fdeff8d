"""Batches of texts of like length."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from tiku.core.method import Context, Method, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support

__all__ = ["METHOD", "LengthBucketing"]


@dataclass(frozen=True)
class LengthBucketing(Method):
    """Sort the requests at hand by length before they are cut into batches; answers keep their order.

    Less padding is computed. A single request gains nothing.
    """

    name: ClassVar[str] = "length-bucketing"
    promise: ClassVar[float] = 0.9
    stage: ClassVar[Stage] = "serve"
    questions: ClassVar[tuple[str, ...]] = ("inference", "energy")
    title: ClassVar[Text] = Text("Length-bucketed batches", "按长度分桶组批")
    source: ClassVar[str] = "Khomenko et al. 2016, Accelerating RNN training using sequence bucketing"
    tasks: ClassVar[frozenset[str]] = frozenset({"text-classification"})

    def supports(self, subject: Subject) -> Support:
        if subject.serve.sort_by_length:
            return Support.no("the batches are sorted by length already", "批次已经按长度排序")
        return Support.yes()

    def apply(self, subject: Subject, context: Context) -> Subject:
        return replace(subject, serve=replace(subject.serve, sort_by_length=True))


METHOD = LengthBucketing
