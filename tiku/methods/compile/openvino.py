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
        """The fused graph; where there is time also the unfused one, so that the difference is measured."""
        if not available(cls.name):
            return ()
        return (cls(), cls(fusion=False)) if situation.budget == "thorough" else (cls(),)


METHOD = OpenVinoMethod
