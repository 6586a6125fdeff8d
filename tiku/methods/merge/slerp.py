"""Spherical interpolation between two models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.merge._others import NEEDS_OTHERS, load_other, mergeable, named, record

__all__ = ["METHOD", "Slerp"]


@dataclass(frozen=True)
class Slerp(Method):
    """Each tensor moves along the arc from the subject's to the other model's (Shoemake 1985).

    Unlike the average of two unlike tensors, the arc does not shrink them. Tensors that are nearly
    parallel are interpolated straight.
    """

    name: ClassVar[str] = "slerp"
    stage: ClassVar[Stage] = "compress"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory")
    title: ClassVar[Text] = Text("Spherical interpolation of two models", "两个模型的球面插值")
    source: ClassVar[str] = "Shoemake 1985, Animating rotation with quaternion curves (SIGGRAPH)"

    model: str = param("", "path of the other model")
    weight: float = param(0.5, "how far to go: 0 is the subject, 1 the other model", low=0.0, high=1.0)

    def supports(self, subject: Subject) -> Support:
        if len(named(self.model)) > 1:
            return Support.no(
                "an arc has two ends: name one other model, or use soup, task-arithmetic or ties",
                "球面插值只有两端：请只指定一个其他模型，或改用 soup、task-arithmetic、ties",
            )
        return mergeable(subject, self.model)

    def apply(self, subject: Subject, context: Context) -> Subject:
        """Raises `ModelError` when the other model does not fit."""
        from tiku.methods.merge._arithmetic import combined, slerp, weights_of, with_weights

        other = load_other(subject, self.model.strip().rstrip(","), context)
        moved = combined(
            lambda a, b: slerp(a, b, self.weight), weights_of(subject.module), weights_of(other.module)
        )
        facts = record(subject, named(self.model), "slerp", weight=self.weight)
        return replace(subject, module=with_weights(subject.module, moved), facts=facts)

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        """None: an exam knows one model. Name the others in a recipe and run `tiku apply`."""
        return ()

    @classmethod
    def why_not(cls, situation: Situation) -> Text | None:
        return NEEDS_OTHERS


METHOD = Slerp
