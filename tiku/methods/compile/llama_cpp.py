"""Run a language model in llama.cpp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.compile._runtime import available, runs_in, with_runtime

__all__ = ["METHOD", "LlamaCppMethod"]


@dataclass(frozen=True)
class LlamaCppMethod(Method):
    """Writes a GGUF file and lets llama.cpp execute it."""

    name: ClassVar[str] = "llama-cpp"
    promise: ClassVar[float] = 0.9
    stage: ClassVar[Stage] = "compile"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory", "energy")
    title: ClassVar[Text] = Text("llama.cpp", "llama.cpp")
    source: ClassVar[str] = "llama.cpp documentation; GGUF specification"
    extra: ClassVar[str | None] = "llama"
    tasks: ClassVar[frozenset[str]] = frozenset({"causal-lm"})
    slot: ClassVar[str | None] = "runtime"

    cache_format: str = param("fp32", "how keys and values are kept", choices=("fp32", "fp16"))

    def supports(self, subject: Subject) -> Support:
        return runs_in(subject, self.name)

    def apply(self, subject: Subject, context: Context) -> Subject:
        return with_runtime(subject, self.name, {"cache_format": self.cache_format})

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        """Where the package is there and the model is a language model."""
        return (cls(),) if situation.task == "causal-lm" and available(cls.name) else ()


METHOD = LlamaCppMethod
