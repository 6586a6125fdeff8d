"""Question 5: How is inference made fast?"""

from __future__ import annotations

from typing import ClassVar

from tiku.core.question import Evidence, Question
from tiku.core.text import Text
from tiku.questions._by_methods import MethodQuestion
from tiku.questions._fusion import fusion_gave
from tiku.questions._generating import own_text
from tiku.questions._regimes import regimes

__all__ = ["QUESTION"]


class Inference(MethodQuestion):
    """Judged by the metrics below; the methods are those that name this question."""

    id = "inference"
    number = 5
    title = Text("How is inference made fast?", "如何提升推理性能？")
    metrics: ClassVar[tuple[str, ...]] = (
        "p50_latency",
        "p95_latency",
        "p99_latency",
        "throughput",
        "time_per_token",
        "time_to_first_token",
        "tokens_per_second",
        "generated_tokens_per_second",
        "prefill_throughput",
        "small_pass",
        "large_pass",
    )
    gains: ClassVar[tuple[str, ...]] = (
        "throughput",
        "p50_latency",
        "time_per_token",
        "tokens_per_second",
        "generated_tokens_per_second",
    )

    def caveats(self, evidence: Evidence) -> tuple[Text, ...]:
        """Also where the answer changes with the tokens per pass, or with who writes the text; and what
        operator fusion gave."""
        return (*super().caveats(evidence), *regimes(evidence), *own_text(evidence), *fusion_gave(evidence))


QUESTION: Question = Inference()
