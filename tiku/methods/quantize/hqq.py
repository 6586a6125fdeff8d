"""HQQ: few-bit weights on a grid that ignores the outliers; no calibration data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.quantize._grid import GridKind
from tiku.methods.quantize._weight_only import FEW_BITS_OF_ENCODERS, can_quantise

__all__ = ["HQQ", "METHOD"]


@dataclass(frozen=True)
class HQQ(Method):
    """Half-quadratic quantisation: zero points and scales that minimise the sum of |error|^0.7 of the
    weights, in which few large errors count little. Groups it does not improve keep their clipped range;
    `facts["quantised"]["hqq"]` says how many groups moved, and the error relative to before."""

    name: ClassVar[str] = "hqq"
    promise: ClassVar[float] = 0.5
    stage: ClassVar[Stage] = "compress"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory", "energy")
    title: ClassVar[Text] = Text("HQQ (half-quadratic quantisation)", "HQQ（半二次量化）")
    source: ClassVar[str] = "Badri & Shaji 2023, Half-Quadratic Quantization of Large Machine Learning Models"
    slot: ClassVar[str | None] = "numerics"

    bits: int = param(4, "bits per weight", choices=(2, 3, 4, 8))
    group: int | None = param(
        64, "inputs that share a scale; null: one scale per output", choices=(None, 32, 64, 128)
    )
    steps: int = param(20, "rounds of the optimisation at most", low=1, high=200)
    quantize_head: bool = param(False, "also quantise the layer that gives the logits, to 8 bits; unties it")

    def supports(self, subject: Subject) -> Support:
        return can_quantise(subject)

    def apply(self, subject: Subject, context: Context) -> Subject:
        """Raises `ModelError` on weights that are not finite."""
        from tiku.methods.quantize._grid import fit_grid, round_to_nearest
        from tiku.methods.quantize._half_quadratic import lp_error, refine
        from tiku.methods.quantize._weight_only import HEAD_KIND, put, report_of, stored_as, working_copy

        kind = GridKind(self.bits, self.group, symmetric=False)
        copied, targets = working_copy(subject, quantize_head=self.quantize_head)
        report = report_of(targets, kind)
        groups = moved = 0
        before = after = 0.0
        for done, layer in enumerate(targets.layers):
            context.progress(done, len(targets.layers), layer.name)
            weight = layer.weight()
            if layer.head:
                put(copied.module, layer, round_to_nearest(weight, HEAD_KIND))
                continue
            grid = fit_grid(weight, kind)
            better = refine(weight, grid, steps=self.steps)
            groups += grid.scale_OG.numel()
            moved += int((better.scale_OG != grid.scale_OG).sum())
            before, after = (
                before + float(lp_error(weight, grid).sum()),
                after + float(lp_error(weight, better).sum()),
            )
            put(copied.module, layer, better.codes_of(weight))
        told = {"groups": groups, "groups_moved": moved, "error_relative": after / before if before else None}
        return stored_as(
            copied, kind, self.name, {**report, "hqq": told}, {"quantize_head": self.quantize_head}
        )

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        """For language models, in groups of 64, where there is time; classifiers lose little to rounding."""
        worth = situation.task == "causal-lm" and situation.budget != "quick"
        return (cls(quantize_head=True),) if worth else ()

    @classmethod
    def why_not(cls, situation: Situation) -> Text | None:
        return None if situation.task == "causal-lm" else FEW_BITS_OF_ENCODERS


METHOD = HQQ
