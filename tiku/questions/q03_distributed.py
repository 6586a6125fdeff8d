"""Question 3: How is training distributed?"""

from __future__ import annotations

from typing import ClassVar

from tiku.core.question import Question
from tiku.core.text import Text
from tiku.questions._by_methods import MethodQuestion

__all__ = ["QUESTION"]


class Distributed(MethodQuestion):
    """Judged by the metrics below; the methods are those that name this question."""

    id = "distributed"
    number = 3
    title = Text("How is training distributed?", "如何做分布式训练？")
    metrics: ClassVar[tuple[str, ...]] = ("peak_memory",)
    gains: ClassVar[tuple[str, ...]] = ("throughput",)


QUESTION: Question = Distributed()
