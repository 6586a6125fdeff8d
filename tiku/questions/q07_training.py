"""Question 7: How is training made fast?"""

from __future__ import annotations

from typing import ClassVar

from tiku.core.question import Question
from tiku.core.text import Text
from tiku.questions._by_methods import MethodQuestion

__all__ = ["QUESTION"]


class Training(MethodQuestion):
    """Judged by the metrics below; the methods are those that name this question."""

    id = "training"
    number = 7
    title = Text("How is training made fast?", "如何加快训练速度？")
    metrics: ClassVar[tuple[str, ...]] = ()  # time to equal quality, once a method changes the training
    gains: ClassVar[tuple[str, ...]] = ()


QUESTION: Question = Training()
