"""Task arithmetic: what fine-tunings changed, added to their common ancestor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.merge._others import NEEDS_OTHERS, load_other, load_others, mergeable, named, record

__all__ = ["METHOD", "TaskArithmetic"]


@dataclass(frozen=True)
class TaskArithmetic(Method):
    """ancestor + scale · sum over the models (the subject among them) of (model - ancestor).

    It needs the common ancestor (`base`). A classification head that the ancestor lacks has no task
    vector: there the models' mean stands.
    """

    name: ClassVar[str] = "task-arithmetic"
    stage: ClassVar[Stage] = "compress"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory")
    title: ClassVar[Text] = Text("Task arithmetic", "任务向量算术")
    source: ClassVar[str] = "Ilharco et al. 2023, Editing models with task arithmetic (arXiv:2212.04089)"

    models: str = param("", "paths of further models, separated by commas")
    base: str = param("", "path of the model that all were fine-tuned from")
    scale: float = param(0.4, "factor of the sum of the task vectors; negative forgets", low=-4.0, high=4.0)

    def supports(self, subject: Subject) -> Support:
        return mergeable(subject, self.models, base=self.base)

    def apply(self, subject: Subject, context: Context) -> Subject:
        """Raises `ModelError` when a model does not fit."""
        from tiku.methods.merge._arithmetic import combined, minus, weights_of, with_weights
        from tiku.methods.merge._tasks import headless, shared

        ancestor = load_other(subject, self.base.strip(), context, ancestor=True)
        each = [weights_of(s.module) for s in (subject, *load_others(subject, self.models, context))]
        origin = shared(ancestor, weights_of(ancestor.module))
        tasks = [minus({name: weights[name] for name in origin}, origin) for weights in each]
        moved = combined(lambda start, *task: start + self.scale * sum(task), origin, *tasks)
        facts = record(subject, named(self.models), "task arithmetic", base=self.base, scale=self.scale)
        merged = with_weights(subject.module, moved | headless(ancestor, each))
        return replace(subject, module=merged, facts=facts)

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        """None: an exam knows one model. Name the others in a recipe and run `tiku apply`."""
        return ()

    @classmethod
    def why_not(cls, situation: Situation) -> Text | None:
        return NEEDS_OTHERS


METHOD = TaskArithmetic
