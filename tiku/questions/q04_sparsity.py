"""Question 4: How is sparsity used?"""

from __future__ import annotations

from typing import ClassVar

from tiku.core.question import Question
from tiku.core.text import Text
from tiku.questions._by_methods import MethodQuestion

__all__ = ["QUESTION"]


class Sparsity(MethodQuestion):
    """Judged by the metrics below; the methods are those that name this question."""

    id = "sparsity"
    number = 4
    title = Text("How is sparsity used?", "如何利用稀疏性？")
    metrics: ClassVar[tuple[str, ...]] = ("artefact_size", "accuracy", "perplexity")
    gains: ClassVar[tuple[str, ...]] = ("throughput", "time_per_token")


QUESTION: Question = Sparsity()
