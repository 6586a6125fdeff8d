"""Depth pruning: the blocks that change their input least are left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.prune._method import pruned
from tiku.methods.prune._planning import Shares, supported

__all__ = ["METHOD", "PruneDepth"]


@dataclass(frozen=True)
class PruneDepth(Method):
    """Drops whole blocks by block influence: 1 - cosine between a block's input and output.

    The result is an ordinary model with fewer layers. Nothing is trained; `distill` does the same and
    then lets the smaller model learn from the whole one.
    """

    name: ClassVar[str] = "prune-depth"
    promise: ClassVar[float] = 0.45
    stage: ClassVar[Stage] = "compress"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory", "energy")
    title: ClassVar[Text] = Text("Depth pruning", "深度剪枝")
    source: ClassVar[str] = "Men et al. 2024, ShortGPT: Layers in Large Language Models are More Redundant"

    keep: float = param(0.85, "share of the blocks that stay", low=0.01, high=1.0)
    tokens: int = param(4096, "calibration tokens the influence is averaged over", low=64, high=10**7)
    max_length: int = param(256, "longer texts are cut to so many tokens", low=4, high=10**6)

    def supports(self, subject: Subject) -> Support:
        """Float32 transformers modules with one stack of equal blocks."""
        return supported(subject, Shares(blocks=self.keep))

    def apply(self, subject: Subject, context: Context) -> Subject:
        """Raises `DataError` without texts, `ModelError` where blocks cannot be told apart from the rest."""
        return pruned(
            subject, context, Shares(blocks=self.keep), tokens=self.tokens, max_length=self.max_length,
            fact="prune_depth",
        )  # fmt: skip


METHOD = PruneDepth
