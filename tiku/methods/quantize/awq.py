"""AWQ: few-bit weights in which the inputs that matter most are rounded most finely."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.quantize._grid import GridKind
from tiku.methods.quantize._weight_only import FEW_BITS_OF_ENCODERS, can_quantise, error_remark, stored_as

if TYPE_CHECKING:
    from tiku.methods.quantize._calibrated import Calibrated
    from tiku.methods.quantize._calibration import SharedInput
    from tiku.methods.quantize._folding import Fold

__all__ = ["AWQ", "METHOD"]


@dataclass(frozen=True)
class AWQ(Method):
    """Activation-aware weight quantisation: layers that read one tensor get a scale per input, found on
    calibration texts, whose inverse goes into the norm or linear layer before them.

    Where that would change what the model computes, which is tried out, layers are rounded as they are;
    `facts["quantised"]["awq"]` says where, and whether any scale was better than none.
    """

    name: ClassVar[str] = "awq"
    promise: ClassVar[float] = 0.4
    stage: ClassVar[Stage] = "compress"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory", "energy")
    title: ClassVar[Text] = Text("AWQ", "AWQ")
    source: ClassVar[str] = "Lin et al. 2024, AWQ: Activation-aware Weight Quantization (MLSys)"
    slot: ClassVar[str | None] = "numerics"
    slow: ClassVar[bool] = True

    bits: int = param(4, "bits per weight", choices=(2, 3, 4, 8))
    group: int | None = param(
        128, "inputs that share a scale; null: one scale per output", choices=(None, 32, 64, 128)
    )
    symmetric: bool = param(False, "zero in the middle of the grid: no zero points to store, more error")
    tokens: int = param(16_384, "calibration tokens", low=1, high=100_000_000)
    window: int = param(512, "tokens of a calibration text at most", low=8, high=131_072)
    quantize_head: bool = param(False, "also quantise the layer that gives the logits, to 8 bits; unties it")

    def supports(self, subject: Subject) -> Support:
        return can_quantise(subject)

    def apply(self, subject: Subject, context: Context) -> Subject:
        """Raises `DataError` (nothing to calibrate on) and `ModelError` (numbers that are not finite)."""
        from tiku.methods.quantize._calibrated import Calibrated
        from tiku.methods.quantize._calibration import shared_inputs
        from tiku.methods.quantize._folding import find_folds

        kind = GridKind(self.bits, self.group, self.symmetric)
        work = Calibrated.start(
            subject,
            context,
            kind,
            quantize_head=self.quantize_head,
            tokens=self.tokens,
            window=self.window,
        )
        groups = shared_inputs(work.subject, work.body, work.texts)
        folds = find_folds(work.subject, groups, work.texts)
        record = _Record()
        for group in work.groups():
            _settle(group, folds.get(group.layers[0].name), work, record)
        report = {**work.report, "awq": record.told()}
        options = {"quantize_head": self.quantize_head}
        return stored_as(work.subject, kind, self.name, report, options)

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        """For language models, where there is time; encoders lose little to rounding as it is."""
        worth = situation.task == "causal-lm" and situation.budget != "quick"
        return (cls(quantize_head=True),) if worth else ()

    @classmethod
    def why_not(cls, situation: Situation) -> Text | None:
        return None if situation.task == "causal-lm" else FEW_BITS_OF_ENCODERS

    @classmethod
    def remark(cls, facts: Mapping[str, Any]) -> Text | None:
        told = facts["quantised"]["awq"]
        fired = []
        if told.get("all_scales_are_one"):
            fired.append(
                Text("all scales are one: this is plain rounding", "所有缩放系数均为 1：等同直接舍入")
            )
        if unfolded := told.get("rounded_as_no_exact_fold_exists"):
            names = ", ".join(unfolded)
            fired.append(Text(f"no exact fold for {names}", f"{names} 没有精确的折叠方式"))
        return error_remark(told["error_relative_to_rounding"], fired)


@dataclass
class _Record:
    """What AWQ has to report."""

    alphas: list[float] = field(default_factory=list)
    unfolded: list[str] = field(default_factory=list)
    error: float = 0.0
    nearest: float = 0.0

    def told(self) -> dict[str, Any]:
        """JSON values."""
        from tiku.methods.quantize._targets import patterns

        scaled = [alpha for alpha in self.alphas if alpha]
        told: dict[str, Any] = {
            "inputs_that_could_be_scaled": len(self.alphas),
            "inputs_scaled": len(scaled),
            "mean_alpha": sum(scaled) / len(scaled) if scaled else 0.0,
            "error_relative_to_rounding": self.error / self.nearest if self.nearest else None,
        }
        if not scaled:
            told["all_scales_are_one"] = True
        if self.unfolded:
            told["rounded_as_no_exact_fold_exists"] = patterns(self.unfolded)
        return told


def _settle(group: SharedInput, fold: Fold | None, work: Calibrated, record: _Record) -> None:
    """Scale, fold and put the layers of a group; without a fold round them with clipped ranges."""
    import torch

    from tiku.methods.quantize._awq import search
    from tiku.methods.quantize._grid import round_to_nearest

    if fold is None:
        record.unfolded += [layer.name for layer in group.layers]
        for layer in group.layers:
            work.put(layer, round_to_nearest(layer.weight(), work.kind, group.hessian_II.diagonal()))
        return
    weights = [layer.weight() for layer in group.layers]
    found = search(torch.cat(weights), group.hessian_II, group.mean_abs_I, work.kind)
    record.alphas.append(found.alpha)
    record.error += found.error
    record.nearest += found.nearest
    at = 0
    for layer, weight in zip(group.layers, weights, strict=True):
        work.put(layer, found.codes.rows(at, at + len(weight)))
        at += len(weight)
    if found.alpha:
        fold.divide(work.subject.module, found.scale_I)


METHOD = AWQ
