"""Dynamic int8: weights stored in 8 bits, activations quantised while the model runs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Numerics, Subject
from tiku.core.text import Text
from tiku.core.verdict import Support

__all__ = ["METHOD", "Int8Dynamic"]


@dataclass(frozen=True)
class Int8Dynamic(Method):
    """Asks the runtime for int8 weights and int8 activations scaled on the fly; no calibration data.

    The runtime that follows in the recipe carries it out, or refuses with its reason. With
    `reduce_range` weights use 7 bits: on x86 processors without VNNI the sum of two full 8-bit
    products saturates at 16 bits and the results are wrong (ONNX Runtime documentation, Quantization).
    """

    name: ClassVar[str] = "int8-dynamic"
    promise: ClassVar[float] = 0.95
    stage: ClassVar[Stage] = "compress"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory", "energy")
    title: ClassVar[Text] = Text("Dynamic int8 quantisation", "动态 int8 量化")
    source: ClassVar[str] = "Jacob et al. 2018, Quantization and Training of Neural Networks (CVPR)"
    slot: ClassVar[str | None] = "numerics"

    per_channel: bool = param(True, "one weight scale per output channel instead of one per matrix")
    reduce_range: bool = param(True, "7-bit weights, safe on processors without VNNI")
    group_size: int | None = param(
        None,
        "activations share a scale per group of this many inputs; null: the runtime's own choice",
        choices=(None, 32, 64, 128),
    )
    quantize_head: bool = param(False, "also quantise the layer that gives the logits")
    quantize_embeddings: bool = param(False, "also quantise the embedding tables: smaller, not faster")

    def supports(self, subject: Subject) -> Support:
        if subject.numerics.scheme != "fp32":
            return Support.no(
                f"the model is already {subject.numerics.scheme}; a second quantisation would only lose more",
                f"模型已是 {subject.numerics.scheme}，再次量化只会损失更多精度",
            )
        return Support.yes()

    def apply(self, subject: Subject, context: Context) -> Subject:
        return replace(subject, numerics=Numerics(self.name, dataclasses.asdict(self)))

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        """A language model's activations have outliers that one scale per tensor does not bear (smollm2:
        logits move by 10 of 24), and its head is most of what a token reads: groups, head included, first."""
        if situation.task != "causal-lm":
            return (cls(),)
        grouped = cls(group_size=32, quantize_head=True)
        return (grouped,) if situation.budget == "quick" else (grouped, cls())


METHOD = Int8Dynamic
