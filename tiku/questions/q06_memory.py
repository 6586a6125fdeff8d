"""Question 6: How is memory kept low?"""

from __future__ import annotations

from typing import ClassVar

from tiku.core.question import Question
from tiku.core.text import Text
from tiku.questions._by_methods import MethodQuestion

__all__ = ["QUESTION"]


class Memory(MethodQuestion):
    """Judged by the metrics below; the methods are those that name this question."""

    id = "memory"
    number = 6
    title = Text("How is memory kept low?", "如何降低内存消耗？")
    metrics: ClassVar[tuple[str, ...]] = ("peak_memory", "artefact_size")
    gains: ClassVar[tuple[str, ...]] = ("peak_memory", "artefact_size")


QUESTION: Question = Memory()
