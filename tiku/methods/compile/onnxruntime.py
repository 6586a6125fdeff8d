"""Run the model in ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.compile._runtime import available, runs_in, with_runtime

__all__ = ["METHOD", "OnnxRuntimeMethod"]


@dataclass(frozen=True)
class OnnxRuntimeMethod(Method):
    """Export to ONNX and let ONNX Runtime fuse and execute the graph."""

    name: ClassVar[str] = "onnxruntime"
    promise: ClassVar[float] = 1.0
    stage: ClassVar[Stage] = "compile"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory", "energy")
    title: ClassVar[Text] = Text("ONNX Runtime", "ONNX Runtime")
    source: ClassVar[str] = "ONNX Runtime documentation, Graph Optimizations in ONNX Runtime"
    extra: ClassVar[str | None] = "onnx"
    tasks: ClassVar[frozenset[str]] = frozenset({"text-classification", "causal-lm"})
    slot: ClassVar[str | None] = "runtime"

    arena: bool = param(True, "keep freed buffers for the next run: faster, more resident memory")
    fusion: bool = param(True, "operator fusion: neighbouring operators run as one kernel")

    def supports(self, subject: Subject) -> Support:
        return runs_in(subject, self.name)

    def apply(self, subject: Subject, context: Context) -> Subject:
        return with_runtime(subject, self.name, {"arena": self.arena, "fusion": self.fusion})

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        """The fused graph; where there is time also the unfused one, so that the difference is measured."""
        if not available(cls.name):
            return ()
        return (cls(), cls(fusion=False)) if situation.budget == "thorough" else (cls(),)


METHOD = OnnxRuntimeMethod
