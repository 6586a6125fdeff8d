"""Question 10: How are its decisions explained?"""

from __future__ import annotations

from typing import ClassVar

from tiku.core.question import Question
from tiku.core.text import Text
from tiku.questions._by_methods import MethodQuestion

__all__ = ["QUESTION"]


class Interpretability(MethodQuestion):
    """Judged by the metrics below; the methods are those that name this question."""

    id = "interpretability"
    number = 10
    title = Text("How are its decisions explained?", "如何解释模型的决策？")
    metrics: ClassVar[tuple[str, ...]] = ()
    gains: ClassVar[tuple[str, ...]] = ()


QUESTION: Question = Interpretability()
