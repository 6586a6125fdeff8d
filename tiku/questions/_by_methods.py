"""The common case of a question: try every registered method that names it, judge them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from tiku.core import registry
from tiku.core.errors import RecipeError
from tiku.core.method import Method, Situation
from tiku.core.metric import Metric
from tiku.core.question import Evidence, Proposal, Question
from tiku.core.recipe import Recipe
from tiku.core.result import Answer, AnswerVerdict, RequirementOutcome, Trial
from tiku.core.task import TASKS
from tiku.core.text import Text
from tiku.questions._wording import change, grid_caveats, join, with_interval

__all__ = ["MethodQuestion"]


class MethodQuestion(Question):
    """Proposes each method's candidates; answers with the best that kept the quality.

    `gains` are the metrics the question wants improved, the deciding one first (the first that was
    measured decides).
    """

    gains: ClassVar[tuple[str, ...]] = ()

    def methods(self) -> tuple[type[Method], ...]:
        """Every registered method that serves this question."""
        found = (registry.get("methods", name) for name in registry.names("methods"))
        return tuple(m for m in found if self.id in m.questions)

    def propose(self, situation: Situation) -> tuple[Proposal, ...]:
        usable = [m for m in self.methods() if not m.tasks or situation.task in m.tasks]
        runtimes = [c for m in usable if m.slot == "runtime" for c in m.candidates(situation)]
        proposals = []
        for method in usable:
            for rank, candidate in enumerate(method.candidates(situation)):
                proposals += self._alone_and_built(candidate, runtimes, rank)
        return tuple(sorted(proposals, key=lambda p: -p.priority))

    def _alone_and_built(self, candidate: Method, runtimes: Sequence[Method], rank: int) -> list[Proposal]:
        """The method on the default runtime; for a compression also on each other runtime, since
        a number format pays only where the runtime multiplies in it. Those come right after the
        runtime itself; what is slow to build comes last."""
        promise = 0.0 if candidate.slow else _PRIORITY[candidate.stage]
        alone = Proposal(Recipe.of(candidate), self.id, priority=promise - 0.1 * rank)
        if candidate.stage != "compress":
            return [alone]
        built = [
            replace(
                alone, recipe=Recipe.of(candidate, runtime), priority=_PRIORITY["compile"] - 0.01 - 0.1 * rank
            )
            for runtime in runtimes
            if not runtime.slow and _stand_together(candidate, runtime)
        ]
        return [*built, alone]

    def decide(self, evidence: Evidence) -> Answer:
        if not self.methods():
            return Answer("not measured", _NOTHING_BUILT)
        done = [t for t in evidence.trials if t.status == "done"]
        metric = self._deciding(evidence, done)
        if metric is None:
            return self._nothing_measured(evidence)
        kept = [t for t in done if _kept_quality(t, evidence) and metric.name in t.against_base]
        better = [t for t in kept if t.against_base[metric.name].verdict == "better"]
        best = max(better, key=lambda t: _effect(metric, t), default=None)
        verdict = self._verdict(evidence)
        return Answer(
            verdict=verdict if kept or verdict == "fail" else "inconclusive",
            answer=self._sentence(evidence, metric, best, done),
            recommended=best.id if best else None,
            evidence=tuple(t.id for t in evidence.trials),
            caveats=self.caveats(evidence),
            key_metric=metric.name,
        )

    def caveats(self, evidence: Evidence) -> tuple[Text, ...]:
        """What a reader must know beside the numbers; refusals and what the budget left out."""
        found = []
        if evidence.not_run:
            names = ", ".join(str(r) for r in evidence.not_run)
            found.append(Text(f"the budget left no room for: {names}", f"预算不足，未测：{names}"))
        if any(m.stage == "compress" for t in evidence.trials for m in t.recipe.methods()):
            found += grid_caveats(evidence.situation.facts)
        return tuple(found)

    def _deciding(self, evidence: Evidence, done: Sequence[Trial]) -> Metric | None:
        wanted = (evidence.objective, *self.gains) if evidence.objective in self.gains else self.gains
        for name in wanted:
            if name in evidence.metrics and any(name in t.against_base for t in done):
                return evidence.metrics[name]
        return None

    def _verdict(self, evidence: Evidence) -> AnswerVerdict:
        """By the requirements on this question's metrics; without any there are only numbers to tell."""
        own = _own_requirements(evidence.requirements, self.metrics)
        if any(o.met is False for o in own):
            return "fail"
        if any(o.met is None for o in own):
            return "inconclusive"
        return "pass" if own else "informative"

    def _sentence(
        self, evidence: Evidence, metric: Metric, best: Trial | None, done: Sequence[Trial]
    ) -> Text:
        if best is None:
            tried = len(done)
            return Text(
                f"None of the {tried} measured recipes improved {metric.title.en.lower()} and kept the "
                "quality; the base stays.",
                f"已测的 {tried} 个方案均未在保持质量的同时改善{metric.title.zh}，维持基线。",
            )
        quality = evidence.metrics.get(TASKS[evidence.situation.task].quality)
        parts = [change(metric, best.against_base[metric.name])]
        if quality is not None and quality.name in best.against_base:
            parts.append(change(quality, best.against_base[quality.name]))
        told, name = join(parts), str(_own(best, evidence.base))
        return Text(
            f"Best of {len(done)} measured recipes: {name}. Against the base: {told.en}.",
            f"{len(done)} 个已测方案中最佳：{name}。相对基线：{told.zh}。",
        )

    def _nothing_measured(self, evidence: Evidence) -> Answer:
        """No candidate gave a number: why, and what the base itself measured."""
        why = self._why_nothing(evidence)
        told = [name for name in self.metrics if name in evidence.base.metrics and name in evidence.metrics]
        tried = tuple(t.id for t in evidence.trials)
        if not told:
            verdict: AnswerVerdict = "inconclusive" if tried else "not measured"
            return Answer(verdict, why, evidence=tried, caveats=self.caveats(evidence))
        values = [
            Text(f"{m.title.en.lower()} {shown}", f"{m.title.zh} {shown}")
            for m, shown in ((evidence.metrics[n], with_interval(evidence.base.metrics[n])) for n in told)
        ]
        base = join(values)
        return Answer(
            self._verdict(evidence),
            Text(f"The base alone: {base.en}. {why.en}", f"仅有基线：{base.zh}。{why.zh}"),
            evidence=(evidence.base.id, *tried),
            caveats=self.caveats(evidence),
            key_metric=told[0],
        )

    def _why_nothing(self, evidence: Evidence) -> Text:
        if not evidence.trials:
            return _NO_ROOM if evidence.not_run else _NONE_APPLIES
        reasons = list(dict.fromkeys(t.reason for t in evidence.trials if t.reason is not None))
        told = join(reasons) if reasons else Text("no reason recorded", "未记录原因")
        return Text(f"No method could be measured here: {told.en}.", f"此处没有方法可测：{told.zh}。")


_PRIORITY = {"compile": 4.0, "compress": 3.0, "serve": 2.0, "train": 1.0}
_NOTHING_BUILT = Text(
    "Not measured: this release has no method for this question yet. `tiku questions` holds the written "
    "answer.",
    "未测量：此版本尚无针对此问题的方法。文字解答见 `tiku questions`。",
)
_NONE_APPLIES = Text(
    "No method was measured: none of this question's methods applies to this task.",
    "没有测量任何方法：此问题的方法均不适用于该任务。",
)
_NO_ROOM = Text(
    "No method was measured: the budget left no room for it. Give more with --minutes or --budget thorough.",
    "没有测量任何方法：预算不足。可用 --minutes 或 --budget thorough 增加。",
)


def _stand_together(a: Method, b: Method) -> bool:
    try:
        Recipe.of(a, b)
    except RecipeError:
        return False
    return True


def _kept_quality(trial: Trial, evidence: Evidence) -> bool:
    quality = TASKS[evidence.situation.task].quality
    compared = trial.against_base.get(quality)
    return compared is not None and compared.verdict != "worse"


def _effect(metric: Metric, trial: Trial) -> float:
    effect = trial.against_base[metric.name].effect
    return effect if metric.direction == "higher" else -effect


def _own(trial: Trial, base: Trial) -> Recipe:
    shared = list(base.recipe.steps)
    return Recipe(tuple(s for s in trial.recipe.steps if s not in shared))


def _own_requirements(
    outcomes: Sequence[RequirementOutcome], metrics: Sequence[str]
) -> list[RequirementOutcome]:
    return [o for o in outcomes if o.expr.split()[0] in metrics]
