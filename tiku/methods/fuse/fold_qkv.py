"""Query, key and value as one matrix product, and the two inputs of a gated MLP as one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support

__all__ = ["METHOD", "FoldQkv"]


@dataclass(frozen=True)
class FoldQkv(Method):
    """The torch runtime joins the layers when it opens the files, which stay what they were.

    Layers that read the same tensor become one matrix of all their rows: fewer and larger products, the
    same outputs up to the order of the sums. Grouped-query attention, biases and quantised layers of one
    format are joined as they are. Opening holds one group twice for a moment.
    """

    name: ClassVar[str] = "fold-qkv"
    promise: ClassVar[float] = 0.56
    stage: ClassVar[Stage] = "serve"  # it needs to know the runtime
    questions: ClassVar[tuple[str, ...]] = ("inference",)
    title: ClassVar[Text] = Text("One product for query, key and value", "查询、键、值合并为一次矩阵乘")
    source: ClassVar[str] = "Shoeybi et al. 2019, Megatron-LM (one matrix for query, key and value)"

    mlp: bool = param(True, "also join gate and up of gated MLPs")

    def supports(self, subject: Subject) -> Support:
        from tiku.runtimes._folding import foldable

        if subject.runtime != "torch":
            return Support.no(
                "only the torch runtime joins layers when it opens them; "
                f"{subject.runtime} has a graph of its own",
                f"只有 torch 运行时会在打开时合并层；{subject.runtime} 使用自己的计算图",
            )
        if foldable(subject.module, mlp=self.mlp):
            return Support.yes()
        return Support.no(
            f"no block of {type(subject.module).__name__} holds separate linear layers for query, key and "
            "value under names that tiku knows; they may be one matrix already",
            f"{type(subject.module).__name__} 中没有以 tiku 认识的名称分开存放查询、键、值的线性层；"
            "它们可能本来就是一个矩阵",
        )

    def apply(self, subject: Subject, context: Context) -> Subject:
        from tiku.runtimes._folding import foldable

        groups = len(foldable(subject.module, mlp=self.mlp))
        options = {**subject.runtime_options, "fold_qkv": "all" if self.mlp else "attention"}
        return replace(subject, runtime_options=options, facts={**subject.facts, "folded_groups": groups})

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        """Worth a trial where there is time: the gain is a few per cent at most."""
        return () if situation.budget == "quick" else (cls(),)


METHOD = FoldQkv
