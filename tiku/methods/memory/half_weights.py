"""Weights stored in 16 bits and widened to float32 when they are read: half the file, float32 arithmetic."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.memory._storing import kept_by_torch, with_storage
from tiku.weightfiles.half import HALVES

__all__ = ["METHOD", "HalfWeights"]

_LARGEST_FP16 = 65504.0


@dataclass(frozen=True)
class HalfWeights(Method):
    """Rounds the weights to bfloat16 or float16 and stores them so; nothing is computed in 16 bits.

    A CPU without 16-bit arithmetic is then as fast as before, and the model in memory as large. bfloat16
    keeps the range of float32 and 8 bits of precision; float16 keeps 11 bits and overflows at 65,504.
    `facts["half_weights"]` says how far rounding moved them.
    """

    name: ClassVar[str] = "half-weights"
    promise: ClassVar[float] = 0.7
    stage: ClassVar[Stage] = "serve"
    questions: ClassVar[tuple[str, ...]] = ("memory",)
    title: ClassVar[Text] = Text("Weights stored in 16 bits", "权重以 16 位存储")
    source: ClassVar[str] = "Kalamkar et al. 2019, A Study of BFLOAT16 for Deep Learning Training"

    dtype: str = param("bf16", "bf16: range of float32; fp16: eight times finer", choices=tuple(HALVES))

    def supports(self, subject: Subject) -> Support:
        if subject.numerics.scheme != "fp32":
            return Support.no(
                f"the weights are to be stored as {subject.numerics.scheme} already",
                f"权重已定为以 {subject.numerics.scheme} 存储",
            )
        if not (kept := kept_by_torch(subject)):
            return kept
        return self._fits(subject.module)

    def apply(self, subject: Subject, context: Context) -> Subject:
        module = copy.deepcopy(subject.module)
        moved = _round(module, self.dtype)
        facts = {**subject.facts, "half_weights": {"dtype": self.dtype, **moved}}
        return replace(with_storage(subject, half=self.dtype), module=module, facts=facts)

    def _fits(self, module: Any) -> Support:
        import torch

        limit = _LARGEST_FP16 if self.dtype == "fp16" else torch.finfo(torch.bfloat16).max
        for name, weights in _stored(module):
            largest = float(weights.abs().max()) if weights.numel() else 0.0
            if largest > limit:
                return Support.no(
                    f"{name} reaches {largest:.4g} and {self.dtype} ends at {limit:.4g}",
                    f"{name} 的最大绝对值为 {largest:.4g}，超出 {self.dtype} 的上限 {limit:.4g}",
                )
        return Support.yes()

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        return (cls("bf16"), cls("fp16"))


def _stored(module: Any) -> Iterator[tuple[str, Any]]:
    """The float32 tensors that are saved, each once; tensors that share memory are one tensor."""
    import torch

    seen = set()
    for name, tensor in module.state_dict().items():
        if tensor.dtype == torch.float32 and tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            yield name, tensor


def _round(module: Any, dtype: str) -> dict[str, float]:
    """Round in place. The distance moved relative to the weights' own length, the largest step, and how
    many weights that were not zero became zero."""
    import torch

    kind = torch.bfloat16 if dtype == "bf16" else torch.float16
    moved, length, largest, vanished = 0.0, 0.0, 0.0, 0
    for _, weights in _stored(module):
        rounded = weights.to(kind).float()
        step = rounded - weights
        moved += float(step.double().square().sum())
        length += float(weights.double().square().sum())
        largest = max(largest, float(step.abs().max()) if step.numel() else 0.0)
        vanished += int(((rounded == 0) & (weights != 0)).sum())
        weights.copy_(rounded)
    relative = (moved / length) ** 0.5 if length else 0.0
    return {"relative_error": relative, "largest_error": largest, "vanished": vanished}


METHOD = HalfWeights
