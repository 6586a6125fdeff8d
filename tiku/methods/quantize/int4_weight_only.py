"""Weights in 4 bits (or 3, or 2), activations in float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.quantize._grid import GridKind
from tiku.methods.quantize._weight_only import can_quantise

__all__ = ["METHOD", "Int4WeightOnly"]


@dataclass(frozen=True)
class Int4WeightOnly(Method):
    """Rounds the weights of linear layers to 4 bits, with the scale (and zero point) per group of inputs
    that loses the least; no calibration data."""

    name: ClassVar[str] = "int4-weight-only"
    promise: ClassVar[float] = 0.7
    stage: ClassVar[Stage] = "compress"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory", "energy")
    title: ClassVar[Text] = Text("Weight-only int4 quantisation", "仅权重 int4 量化")
    source: ClassVar[str] = "Dettmers & Zettlemoyer 2023 (ICML); clip search: Lin et al. 2024, AWQ (MLSys)"
    slot: ClassVar[str | None] = "numerics"

    bits: int = param(4, "bits per weight", choices=(2, 3, 4))
    group: int | None = param(
        32, "inputs that share a scale; null: one scale per output", choices=(None, 32, 64, 128)
    )
    symmetric: bool = param(False, "zero in the middle of the grid: no zero points to store, more error")
    quantize_head: bool = param(False, "also quantise the layer that gives the logits, to 8 bits; unties it")

    def supports(self, subject: Subject) -> Support:
        return can_quantise(subject)

    def apply(self, subject: Subject, context: Context) -> Subject:
        from tiku.methods.quantize._rounding import rounded

        kind = GridKind(self.bits, self.group, self.symmetric)
        return rounded(subject, context, kind, self.name, quantize_head=self.quantize_head)

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        """With the head for language models, which read it for every token; without it too where there is
        time."""
        if situation.task != "causal-lm":
            return (cls(),)
        return (cls(quantize_head=True), *(() if situation.budget == "quick" else (cls(),)))


METHOD = Int4WeightOnly
