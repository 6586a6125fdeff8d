"""Question 8: How is robustness ensured?"""

from __future__ import annotations

from typing import ClassVar

from tiku.core.question import Question
from tiku.core.text import Text
from tiku.questions._by_methods import MethodQuestion

__all__ = ["QUESTION"]


class Robustness(MethodQuestion):
    """Judged by the metrics below; the methods are those that name this question."""

    id = "robustness"
    number = 8
    title = Text("How is robustness ensured?", "如何保证模型的鲁棒性？")
    metrics: ClassVar[tuple[str, ...]] = ()
    gains: ClassVar[tuple[str, ...]] = ()


QUESTION: Question = Robustness()
