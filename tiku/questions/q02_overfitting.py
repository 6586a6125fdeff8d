"""Question 2: How is overfitting handled?"""

from __future__ import annotations

from typing import ClassVar

from tiku.core.question import Question
from tiku.core.text import Text
from tiku.questions._by_methods import MethodQuestion

__all__ = ["QUESTION"]


class Overfitting(MethodQuestion):
    """Judged by the metrics below; the methods are those that name this question."""

    id = "overfitting"
    number = 2
    title = Text("How is overfitting handled?", "如何处理过拟合？")
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "log_loss", "ece")
    gains: ClassVar[tuple[str, ...]] = ("accuracy", "perplexity")


QUESTION: Question = Overfitting()
