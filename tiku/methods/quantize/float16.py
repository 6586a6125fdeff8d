"""float16: weights stored and multiplied in 16 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tiku.core.method import Context, Method, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.quantize._sixteen import in_sixteen_bits, narrow

__all__ = ["METHOD", "Float16"]


@dataclass(frozen=True)
class Float16(Method):
    """11 bits of precision, and overflow at 65,504: finer than bfloat16 where nothing is large. Half the file
    and half the memory.

    Only where the processor multiplies in it (AVX-512 FP16, AMX, Arm FP16) or a GPU is there. Logits are
    returned in float32.
    """

    name: ClassVar[str] = "float16"
    promise: ClassVar[float] = 0.4
    stage: ClassVar[Stage] = "compress"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory", "energy")
    title: ClassVar[Text] = Text("Computing in float16", "float16 计算")
    source: ClassVar[str] = "Micikevicius et al. 2018, Mixed Precision Training (ICLR)"
    slot: ClassVar[str | None] = "numerics"

    def supports(self, subject: Subject) -> Support:
        return in_sixteen_bits(subject, "fp16")

    def apply(self, subject: Subject, context: Context) -> Subject:
        """Raises `ModelError` where a weight is out of range."""
        return narrow(subject, "fp16")


METHOD = Float16
