"""Question 9: How is energy efficiency improved?"""

from __future__ import annotations

from typing import ClassVar

from tiku.core.question import Question
from tiku.core.text import Text
from tiku.questions._by_methods import MethodQuestion

__all__ = ["QUESTION"]


class Energy(MethodQuestion):
    """Judged by the metrics below; the methods are those that name this question."""

    id = "energy"
    number = 9
    title = Text("How is energy efficiency improved?", "如何提高能效比？")
    metrics: ClassVar[tuple[str, ...]] = ("energy_per_1000", "energy_per_token", "energy_per_generated_token")
    gains: ClassVar[tuple[str, ...]] = ("energy_per_1000", "energy_per_token", "energy_per_generated_token")


QUESTION: Question = Energy()
