"""Blocks read from disk while the model runs: memory for two of them instead of all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.memory._storing import kept_by_torch
from tiku.runtimes._compressed_tensors import WEIGHT_ONLY
from tiku.runtimes._sixteen_bits import DTYPES, INT8_IN_BF16
from tiku.runtimes._streaming import blocks_of

__all__ = ["METHOD", "LayerStreaming"]

_CLEAR_OF = 3  # two buffers and at least one block that they save


@dataclass(frozen=True)
class LayerStreaming(Method):
    """Keeps the repeated blocks on disk and reads the next one while the present one computes.

    The answers are the same; memory holds the embeddings and the head, `resident_layers` blocks, and two
    more. Every token reads every streamed block once, so that decoding is as fast as the disk, or as the
    system's file cache where that holds the file; what is not in that cache is read past it. Few large
    batches pay for it, single tokens hardly ever: weights in few bits, which are read as they are stored,
    are the sooner there.
    """

    name: ClassVar[str] = "layer-streaming"
    promise: ClassVar[float] = 0.3
    stage: ClassVar[Stage] = "serve"
    questions: ClassVar[tuple[str, ...]] = ("memory",)
    title: ClassVar[Text] = Text("Layer streaming from disk", "逐层从磁盘加载")
    source: ClassVar[str] = "Sheng et al. 2023, FlexGen: High-Throughput Generative Inference (ICML)"
    slot: ClassVar[str | None] = "weight files"

    resident_layers: int = param(0, "blocks that stay in memory, spread evenly", low=0, high=10_000)

    def supports(self, subject: Subject) -> Support:
        if not (kept := kept_by_torch(subject)):
            return kept
        scheme = subject.numerics.scheme
        if scheme not in ("fp32", *DTYPES, INT8_IN_BF16) and not scheme.endswith(WEIGHT_ONLY):
            return Support.no(
                f"torch, which reads the blocks, has no {scheme} layers: other runtimes store them in files "
                "of their own",
                f"逐层读取由 torch 完成，而 torch 没有 {scheme} 层：其他运行时把它们存于自有格式的文件中",
            )
        if "fold_qkv" in subject.runtime_options:
            return Support.no(
                "layers that were folded into one product are not in the files",
                "已合并的层不在文件中",
            )
        return self._enough(subject)

    def apply(self, subject: Subject, context: Context) -> Subject:
        options = {**subject.runtime_options, "resident_layers": self.resident_layers}
        _, blocks = blocks_of(subject.module)
        facts = {"blocks": len(blocks), "resident": self.resident_layers}
        return replace(subject, runtime_options=options, facts={**subject.facts, "layer_streaming": facts})

    def _enough(self, subject: Subject) -> Support:
        if not hasattr(subject.module, "save_pretrained"):
            return Support.no(
                "the user's own function builds this module with all its weights in memory",
                "此模块由用户函数构建，构建时全部权重已在内存中",
            )
        _, blocks = blocks_of(subject.module)
        if len(blocks) - self.resident_layers < _CLEAR_OF:
            return Support.no(
                f"the model repeats {len(blocks)} blocks and {self.resident_layers} stay in memory: two "
                "buffers would hold as much as is left",
                f"模型有 {len(blocks)} 个重复块，{self.resident_layers} 个常驻：两个缓冲区已与其余部分一样大",
            )
        return Support.yes()

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        return (cls(),)


METHOD = LayerStreaming
