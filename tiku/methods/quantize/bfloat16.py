"""bfloat16: weights stored and multiplied in 16 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tiku.core.method import Context, Method, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.quantize._sixteen import in_sixteen_bits, narrow

__all__ = ["METHOD", "BFloat16"]


@dataclass(frozen=True)
class BFloat16(Method):
    """The range of float32 with 8 bits of precision: nothing overflows, sums are kept in float32 by the
    processor. Half the file and half the memory.

    Only where the processor multiplies in it (AVX-512 BF16, AMX, Arm BF16) or a GPU is there. Logits are
    returned in float32.
    """

    name: ClassVar[str] = "bfloat16"
    promise: ClassVar[float] = 0.8
    stage: ClassVar[Stage] = "compress"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory", "energy")
    title: ClassVar[Text] = Text("Computing in bfloat16", "bfloat16 计算")
    source: ClassVar[str] = (
        "Kalamkar et al. 2019, A Study of BFLOAT16 for Deep Learning Training (arXiv:1905.12322)"
    )
    slot: ClassVar[str | None] = "numerics"

    def supports(self, subject: Subject) -> Support:
        return in_sixteen_bits(subject, "bf16")

    def apply(self, subject: Subject, context: Context) -> Subject:
        """Raises `ModelError` where a weight is out of range."""
        return narrow(subject, "bf16")


METHOD = BFloat16
