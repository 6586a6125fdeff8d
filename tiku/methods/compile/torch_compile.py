"""Compile the module with TorchInductor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tiku.core import registry
from tiku.core.config import param
from tiku.core.family import Family
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.compile._runtime import runs_in, with_runtime

__all__ = ["METHOD", "TorchCompileMethod"]

_SAMPLE = 256  # texts whose lengths choose the warm-up shapes


@dataclass(frozen=True)
class TorchCompileMethod(Method):
    """`torch.compile` with dynamic shapes, warmed up on the lengths of the calibration texts."""

    name: ClassVar[str] = "torch-compile"
    promise: ClassVar[float] = 0.3
    stage: ClassVar[Stage] = "compile"
    questions: ClassVar[tuple[str, ...]] = ("inference",)
    title: ClassVar[Text] = Text("torch.compile", "torch.compile 编译")
    source: ClassVar[str] = "Ansel et al. 2024, PyTorch 2 (ASPLOS)"
    tasks: ClassVar[frozenset[str]] = frozenset({"text-classification"})
    slot: ClassVar[str | None] = "runtime"
    slow: ClassVar[bool] = True  # each process that opens it compiles for half a minute

    mode: str = param(
        "default",
        "how hard the compiler tries: max-autotune times several kernels per operator",
        choices=("default", "max-autotune-no-cudagraphs"),
    )

    def supports(self, subject: Subject) -> Support:
        return runs_in(subject, self.name)

    def apply(self, subject: Subject, context: Context) -> Subject:
        family: Family = registry.get("models", subject.family)
        texts = list(context.splits[0].calibration.inputs()[:_SAMPLE])
        encodings = family.encode(subject.processor, texts, subject.serve.max_length)
        lengths = sorted(len(encoding["input_ids"]) for encoding in encodings)
        middle, longest = lengths[len(lengths) // 2], lengths[-1]
        # a batch of one is compiled apart from larger ones: torch specialises on the size 1
        options = {
            "mode": self.mode,
            "inputs": list(encodings[0]),
            "warmup": [[1, middle], [subject.serve.batch_size, longest]],
        }
        return with_runtime(subject, self.name, options)

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        return () if situation.budget == "quick" else (cls(),)


METHOD = TorchCompileMethod
