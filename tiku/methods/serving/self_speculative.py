"""The model's own first layers draft, the whole model checks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.serving._decoding import rewinds

__all__ = ["METHOD", "SelfSpeculative"]


@dataclass(frozen=True)
class SelfSpeculative(Method):
    """The first layers with the model's own head propose tokens, and one pass of the whole model checks
    them: no second model, and greedy text stays the same. Models that were not trained to exit early
    guess badly after few layers; whether it pays is measured.
    """

    name: ClassVar[str] = "self-speculative"
    stage: ClassVar[Stage] = "serve"
    questions: ClassVar[tuple[str, ...]] = ("inference", "energy")
    title: ClassVar[Text] = Text("Self-speculative decoding", "自推测解码")
    source: ClassVar[str] = "Zhang et al. 2023, Draft & Verify; Elhoushi et al. 2024, LayerSkip"
    tasks: ClassVar[frozenset[str]] = frozenset({"causal-lm"})
    slot: ClassVar[str | None] = "decoding"

    share: float = param(0.5, "share of the layers that draft", low=0.05, high=0.95)
    draft_tokens: int = param(4, "tokens proposed for one pass of the whole model", low=1, high=64)

    def supports(self, subject: Subject) -> Support:
        if subject.runtime != "torch":
            return Support.no(
                f"{subject.runtime} runs all layers of its graph or none; torch can stop early",
                f"{subject.runtime} 只能执行整个计算图，torch 才能提前退出",
            )
        if not (back := rewinds(subject)):
            return back
        from tiku.runtimes._early_exit import layer_list

        if layer_list(subject.module) is None or self._layers(subject) >= _depth(subject):
            return Support.no(
                "this model's layers cannot be cut short: they are not one list, or there is only one",
                "该模型的层无法提前截断：各层不在同一列表中，或只有一层",
            )
        return Support.yes()

    def apply(self, subject: Subject, context: Context) -> Subject:
        serve = replace(
            subject.serve,
            speculation=self.name,
            draft_tokens=self.draft_tokens,
            draft_layers=self._layers(subject),
        )
        return replace(subject, serve=serve)

    def _layers(self, subject: Subject) -> int:
        return max(1, round(self.share * _depth(subject)))


def _depth(subject: Subject) -> int:
    return int(subject.module.config.num_hidden_layers)


METHOD = SelfSpeculative
