"""A soup: the average of several fine-tuned models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.merge._others import NEEDS_OTHERS, load_others, mergeable, named, record

__all__ = ["METHOD", "Soup"]


@dataclass(frozen=True)
class Soup(Method):
    """The subject and the models named in `models`, averaged weight by weight (Wortsman et al. 2022).

    Uniform averages all. Greedy orders them by their score on validation, the best first, and keeps each
    further one that does not lower the score of the average; so it is never below the best single one
    there. Inference costs what one model costs. The models should come from one ancestor: averages of
    models trained from different beginnings answer garbage.
    """

    name: ClassVar[str] = "soup"
    stage: ClassVar[Stage] = "compress"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory")
    title: ClassVar[Text] = Text("Model soup", "模型汤（权重平均）")
    source: ClassVar[str] = "Wortsman et al. 2022, Model soups (arXiv:2203.05482)"

    models: str = param("", "paths of further models, separated by commas")
    selection: str = param(
        "greedy", "uniform: average all; greedy: only what helps on validation", choices=("uniform", "greedy")
    )
    items: int = param(1000, "validation examples that greedy selects by, at most", low=16, high=1_000_000)

    def supports(self, subject: Subject) -> Support:
        return mergeable(subject, self.models)

    def apply(self, subject: Subject, context: Context) -> Subject:
        """Raises `ModelError` (a model that does not fit), `DataError` (nothing to select by)."""
        from tiku.methods.merge._arithmetic import mean, weights_of, with_weights

        candidates = {"the subject": subject.module}
        candidates |= zip(
            named(self.models), [o.module for o in load_others(subject, self.models, context)], strict=True
        )
        if self.selection == "greedy":
            kept, scores = greedy(subject, candidates, context, self.items)
        else:
            kept, scores = list(candidates), {}
        averaged = mean([weights_of(candidates[name]) for name in kept])
        facts = record(subject, kept, f"{self.selection} soup", **scores)
        return replace(subject, module=with_weights(subject.module, averaged), facts=facts)

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        """None: an exam knows one model. Name the others in a recipe and run `tiku apply`."""
        return ()

    @classmethod
    def why_not(cls, situation: Situation) -> Text | None:
        return NEEDS_OTHERS


def greedy(
    subject: Subject, candidates: dict[str, Any], context: Context, items: int
) -> tuple[list[str], dict[str, Any]]:
    """(names kept, the facts: what each scored alone and what the soup scored)."""
    from tiku.methods.merge._arithmetic import mean, weights_of, with_weights
    from tiku.methods.merge._judging import Judge

    judge = Judge(subject, context, items)
    alone: dict[str, float] = {}
    for name, module in candidates.items():
        context.progress(len(alone), 2 * len(candidates), f"scoring {name}")
        alone[name] = judge.score(module)
    first, *others = sorted(candidates, key=lambda name: -alone[name])
    kept, best = [first], alone[first]
    for number, name in enumerate(others):
        context.progress(len(candidates) + number, 2 * len(candidates), f"adding {name}")
        averaged = mean([weights_of(candidates[one]) for one in (*kept, name)])
        score = judge.score(with_weights(subject.module, averaged))
        if score >= best:
            kept, best = [*kept, name], score
    return kept, {"score": best, "alone": alone, "unit": judge.unit, "validation_items": judge.items}


METHOD = Soup
