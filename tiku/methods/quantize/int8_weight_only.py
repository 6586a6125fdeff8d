"""Weights in 8 bits, activations in float32 or bfloat16."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Numerics, Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.quantize._grid import GridKind
from tiku.methods.quantize._sixteen import in_sixteen_bits, narrow
from tiku.methods.quantize._weight_only import can_quantise
from tiku.runtimes._sixteen_bits import INT8_IN_BF16

__all__ = ["METHOD", "Int8WeightOnly"]


@dataclass(frozen=True)
class Int8WeightOnly(Method):
    """Rounds the weights of linear layers to 8 bits, with the scale per output (or group of inputs) that
    loses the least; no calibration data. A quarter of the float32 size, and less to read per token.

    `compute` bf16 keeps everything else in bfloat16 and computes in it, in the torch runtime where the
    processor or a GPU does: what is symmetric with one scale per output is then multiplied from its codes.
    """

    name: ClassVar[str] = "int8-weight-only"
    promise: ClassVar[float] = 0.6
    stage: ClassVar[Stage] = "compress"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory", "energy")
    title: ClassVar[Text] = Text("Weight-only int8 quantisation", "仅权重 int8 量化")
    source: ClassVar[str] = "Jacob et al. 2018 (CVPR); clip search: Lin et al. 2024, AWQ (MLSys), section 3"
    slot: ClassVar[str | None] = "numerics"

    group: int | None = param(
        None, "inputs that share a scale; null: one scale per output", choices=(None, 32, 64, 128)
    )
    symmetric: bool = param(True, "zero in the middle of the grid; what torch's int8 kernel multiplies")
    quantize_head: bool = param(False, "also quantise the layer that gives the logits; unties it")
    compute: str = param("fp32", "bf16: all computed, the rest stored in it", choices=("fp32", "bf16"))

    def supports(self, subject: Subject) -> Support:
        able = can_quantise(subject)
        return in_sixteen_bits(subject, INT8_IN_BF16) if able and self.compute == "bf16" else able

    def apply(self, subject: Subject, context: Context) -> Subject:
        from tiku.methods.quantize._rounding import rounded

        kind = GridKind(8, self.group, self.symmetric, bf16_scales=self.compute == "bf16")
        made = rounded(subject, context, kind, self.name, quantize_head=self.quantize_head)
        if self.compute == "fp32":
            return made
        return narrow(made, "bf16", Numerics(INT8_IN_BF16, made.numerics.options))

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        """With the head for language models, which read it for every token."""
        return (cls(quantize_head=situation.task == "causal-lm"),)


METHOD = Int8WeightOnly
