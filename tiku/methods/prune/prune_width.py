"""Width pruning: the same number of neurons, heads and stream channels is cut from every block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.prune._method import pruned
from tiku.methods.prune._planning import Shares, supported

__all__ = ["METHOD", "PruneWidth"]


@dataclass(frozen=True)
class PruneWidth(Method):
    """Cuts rows and columns of the weights: neurons of the feed-forward layers; where the config can say
    so, attention heads in whole key/value groups; and channels of the stream between blocks (embeddings,
    positions, norms, heads and classifier together). The head size stays.

    Which neurons and heads go is decided block by block, which channels over all layers that read them: by
    the length of their part of the output (Sun et al. 2024), or by the first-order change of the loss
    without them (Molchanov et al. 2019). RMSNorms are corrected exactly for the channels that are gone;
    LayerNorms then take mean and variance over those that stay, which `facts` counts. BERT's kind works
    out its head size as width / heads: there whole heads go with the channels.
    """

    name: ClassVar[str] = "prune-width"
    promise: ClassVar[float] = 0.44
    stage: ClassVar[Stage] = "compress"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory", "energy")
    title: ClassVar[Text] = Text("Structured width pruning", "结构化宽度剪枝")
    source: ClassVar[str] = (
        "Sun et al. 2024, Wanda; Molchanov et al. 2019, Importance Estimation for Neural Network Pruning; "
        "Michel et al. 2019, Are Sixteen Heads Really Better than One?; "
        "Muralidharan et al. 2024, Compact Language Models via Pruning and Knowledge Distillation (channels)"
    )

    keep_neurons: float = param(0.75, "share of the feed-forward neurons that stay", low=0.01, high=1.0)
    keep_heads: float = param(1.0, "share of the attention heads that stay", low=0.01, high=1.0)
    keep_width: float = param(1.0, "share of the stream's channels that stay", low=0.01, high=1.0)
    importance: str = param(
        "activation", "how neurons, heads and channels are judged", choices=("taylor", "activation")
    )
    tokens: int = param(4096, "calibration tokens they are judged on", low=64, high=10**7)
    max_length: int = param(256, "longer texts are cut to so many tokens", low=4, high=10**6)

    def supports(self, subject: Subject) -> Support:
        """Float32 encoders and decoders whose linear layers are known by name."""
        return supported(subject, self._shares())

    def apply(self, subject: Subject, context: Context) -> Subject:
        """Raises `DataError` without texts, `ModelError` where the cut network would answer otherwise
        than the whole one with those parts silenced."""
        return pruned(
            subject, context, self._shares(), tokens=self.tokens, max_length=self.max_length,
            fact="prune_width",
        )  # fmt: skip

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        """Neurons alone: most weights are there, and every known architecture can lose them. Channels,
        which every layer reads, cost more quality: where there is time to see how much."""
        narrow = (cls(keep_neurons=1.0, keep_width=0.85),) if situation.budget == "thorough" else ()
        return (cls(), *narrow)

    def _shares(self) -> Shares:
        return Shares(
            neurons=self.keep_neurons, heads=self.keep_heads, width=self.keep_width,
            importance=self.importance,
        )  # fmt: skip


METHOD = PruneWidth
