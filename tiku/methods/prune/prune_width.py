"""Width pruning: the same number of neurons and attention heads is cut from every block."""

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
    """Cuts rows and columns of the weights: neurons of the feed-forward layers and, where the config
    can say so, attention heads in whole key/value groups. Head size and width between blocks stay.

    Which ones go is decided block by block: by the length of their part of the output (Sun et al.
    2024), or by the first-order change of the loss without them (Molchanov et al. 2019).
    """

    name: ClassVar[str] = "prune-width"
    promise: ClassVar[float] = 0.44
    stage: ClassVar[Stage] = "compress"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory", "energy")
    title: ClassVar[Text] = Text("Structured width pruning", "结构化宽度剪枝")
    source: ClassVar[str] = (
        "Sun et al. 2024, Wanda; Molchanov et al. 2019, Importance Estimation for Neural Network Pruning; "
        "Michel et al. 2019, Are Sixteen Heads Really Better than One?"
    )

    keep_neurons: float = param(0.75, "share of the feed-forward neurons that stay", low=0.01, high=1.0)
    keep_heads: float = param(1.0, "share of the attention heads that stay", low=0.01, high=1.0)
    importance: str = param(
        "activation", "how neurons and heads are judged", choices=("taylor", "activation")
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
        """Neurons alone: most weights are there, and every known architecture can lose them."""
        return (cls(),)

    def _shares(self) -> Shares:
        return Shares(neurons=self.keep_neurons, heads=self.keep_heads, importance=self.importance)


METHOD = PruneWidth
