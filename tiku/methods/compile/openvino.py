"""Run the model in OpenVINO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.compile._runtime import available, runs_in, with_runtime

__all__ = ["METHOD", "OpenVinoMethod"]


# Attention as one kernel against products and a softmax, minilm in static int8, some 500 tokens in a batch,
# texts per CPU second: 0.90 at 29 tokens, 0.95 at 32, 0.96 at 64, 1.03 at 128, 1.13 at 512.
_SHORT = 64


@dataclass(frozen=True)
class OpenVinoMethod(Method):
    """Convert to OpenVINO IR and execute with its CPU plugin."""

    name: ClassVar[str] = "openvino"
    promise: ClassVar[float] = 0.98
    stage: ClassVar[Stage] = "compile"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory", "energy")
    title: ClassVar[Text] = Text("OpenVINO", "OpenVINO")
    source: ClassVar[str] = "OpenVINO documentation, CPU Device; High-level Performance Hints"
    extra: ClassVar[str | None] = "openvino"
    tasks: ClassVar[frozenset[str]] = frozenset({"text-classification", "causal-lm"})
    slot: ClassVar[str | None] = "runtime"

    hint: str = param(
        "LATENCY",
        "LATENCY: all threads on one request; THROUGHPUT: requests side by side",
        choices=("LATENCY", "THROUGHPUT"),
    )
    fusion: bool = param(
        True, "operator fusion: the plugin's fused subgraphs (attention, elementwise chains)"
    )

    def supports(self, subject: Subject) -> Support:
        return runs_in(subject, self.name)

    def apply(self, subject: Subject, context: Context) -> Subject:
        return with_runtime(subject, self.name, {"hint": self.hint, "fusion": self.fusion})

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        """The graph with attention fused, or first the one without where texts are short; where there is time
        both, so that the difference is measured."""
        if not available(cls.name):
            return ()
        short = situation.facts.get("mean_tokens", _SHORT) < _SHORT
        first, second = cls(fusion=not short), cls(fusion=short)
        return (first, second) if situation.budget == "thorough" else (first,)


METHOD = OpenVinoMethod
