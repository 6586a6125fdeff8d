"""Static int8: weights and activations in 8 bits, the ranges of the activations known beforehand."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Numerics, Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.quantize._weight_only import can_quantise

__all__ = ["METHOD", "Int8Static"]

_OUTLIERS = Text(
    "one range per activation tensor does not bear the outliers of language models; int8-dynamic scales them "
    "in groups, and `tiku apply` carries out a recipe that names int8-static all the same",
    "语言模型的激活有离群值，整个张量共用一个范围难以承受；int8-dynamic 按组缩放，"
    "仍可在方案中指定 int8-static，用 `tiku apply` 执行",
)


@dataclass(frozen=True)
class Int8Static(Method):
    """Takes the range of each linear layer's input on calibration texts, and asks the runtime for products
    of int8 weights (one scale per output) and int8 activations (one scale per tensor) in that range.

    `smooth` moves large inputs into the weights first (SmoothQuant), where the norm or linear layer before
    them takes the inverse exactly; `facts["quantised"]["smooth"]` says where that was so. Nothing is
    searched for while the model runs, which is what makes it faster than int8-dynamic.
    """

    name: ClassVar[str] = "int8-static"
    promise: ClassVar[float] = 0.93
    stage: ClassVar[Stage] = "compress"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory", "energy")
    title: ClassVar[Text] = Text("Static int8 quantisation", "静态 int8 量化")
    source: ClassVar[str] = "Jacob et al. 2018 (CVPR); Xiao et al. 2023, SmoothQuant (ICML)"
    slot: ClassVar[str | None] = "numerics"

    smooth: float | None = param(
        0.5,
        "share of the inputs' size that moves into the weights (SmoothQuant's alpha); null: none",
        choices=(None, 0.25, 0.4, 0.5, 0.6, 0.75, 0.85),
    )
    percentile: float = param(
        100.0, "the range leaves out what lies beyond it on either side; 100: nothing", low=90.0, high=100.0
    )
    reduce_range: bool = param(True, "7-bit weights, safe on processors without VNNI")
    rest: str = param(
        "fp32",
        "what the rest is computed in (attention, norms, sums of layers): bf16 is faster where the runtime "
        "and the processor have it",
        choices=("fp32", "bf16"),
    )
    tokens: int = param(16_384, "calibration tokens", low=128, high=100_000_000)
    window: int = param(512, "tokens of a calibration text at most", low=8, high=131_072)

    def supports(self, subject: Subject) -> Support:
        from tiku.runtimes._static_int8 import adds_in_32_bits

        if not self.reduce_range and not adds_in_32_bits():
            return Support.no(
                "this processor adds products of 8-bit numbers in 16 bits, which saturate; reduce_range has "
                "to stay on",
                "本机处理器用 16 位累加 8 位乘积，会饱和溢出；必须保留 reduce_range",
            )
        return can_quantise(subject)

    def apply(self, subject: Subject, context: Context) -> Subject:
        """Raises `DataError` (too little to calibrate on) and `ModelError` (numbers that are not finite)."""
        from tiku.methods.quantize._activation_ranges import calibrate

        found = calibrate(
            subject,
            context,
            smooth=self.smooth,
            percentile=self.percentile,
            tokens=self.tokens,
            window=self.window,
        )
        options = {**dataclasses.asdict(self), "ranges": found.ranges}
        facts = {**subject.facts, "quantised": found.report}
        return replace(found.subject, numerics=Numerics(self.name, options), facts=facts)

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        """For classifiers: the activations of language models have outliers that one scale per tensor does
        not bear. Weights in as many bits as this processor multiplies rightly (minilm: 7 bits cost 0.6
        points of accuracy, 8 bits 0.1), then the rest in bfloat16 too where it has that."""
        from tiku.runtimes._sixteen_bits import multiplies
        from tiku.runtimes._static_int8 import adds_in_32_bits

        if situation.task == "causal-lm":
            return ()
        finest = cls(reduce_range=not adds_in_32_bits())
        narrow = multiplies("bf16", gpu=False) and situation.budget != "quick"
        return (finest, replace(finest, rest="bf16")) if narrow else (finest,)

    @classmethod
    def why_not(cls, situation: Situation) -> Text | None:
        return _OUTLIERS if situation.task == "causal-lm" else None


METHOD = Int8Static
