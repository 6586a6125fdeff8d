"""TIES: task vectors trimmed, their signs elected, and only what agrees averaged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.merge._others import NEEDS_OTHERS, load_other, load_others, mergeable, named, record

__all__ = ["METHOD", "Ties"]


@dataclass(frozen=True)
class Ties(Method):
    """ancestor + scale · the disjoint mean of the trimmed task vectors (Yadav et al. 2023).

    Of each task vector the largest share `density` of all values is kept; per value the sign with the
    larger total wins; the mean is taken over the models that have it. So models do not cancel each other
    where only one of them learned something.

    It needs the common ancestor (`base`). A classification head that the ancestor lacks has no task
    vector: there the models' mean stands.
    """

    name: ClassVar[str] = "ties"
    stage: ClassVar[Stage] = "compress"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory")
    title: ClassVar[Text] = Text("TIES merging", "TIES 合并（裁剪、选号、同号平均）")
    source: ClassVar[str] = "Yadav et al. 2023, TIES-Merging (arXiv:2306.01708)"

    models: str = param("", "paths of further models, separated by commas")
    base: str = param("", "path of the model that all were fine-tuned from")
    density: float = param(0.2, "share of each task vector that is kept", low=0.001, high=1.0)
    scale: float = param(1.0, "factor of the merged task vector", low=-4.0, high=4.0)

    def supports(self, subject: Subject) -> Support:
        return mergeable(subject, self.models, base=self.base)

    def apply(self, subject: Subject, context: Context) -> Subject:
        """Raises `ModelError` when a model does not fit."""
        from tiku.methods.merge._arithmetic import (
            combined,
            disjoint_mean,
            minus,
            trimmed,
            weights_of,
            with_weights,
        )
        from tiku.methods.merge._tasks import headless, shared

        ancestor = load_other(subject, self.base.strip(), context, ancestor=True)
        each = [weights_of(s.module) for s in (subject, *load_others(subject, self.models, context))]
        origin = shared(ancestor, weights_of(ancestor.module))
        tasks = [
            trimmed(minus({name: weights[name] for name in origin}, origin), self.density) for weights in each
        ]
        moved = combined(lambda start, *task: start + self.scale * disjoint_mean(*task), origin, *tasks)
        facts = record(
            subject, named(self.models), "ties", base=self.base, density=self.density, scale=self.scale
        )
        merged = with_weights(subject.module, moved | headless(ancestor, each))
        return replace(subject, module=merged, facts=facts)

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        """None: an exam knows one model. Name the others in a recipe and run `tiku apply`."""
        return ()

    @classmethod
    def why_not(cls, situation: Situation) -> Text | None:
        return NEEDS_OTHERS


METHOD = Ties
