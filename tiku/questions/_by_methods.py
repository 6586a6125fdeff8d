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
from tiku.core.result import Answer, AnswerVerdict, RequirementOutcome
from tiku.core.text import Text
from tiku.questions._remarks import remarks
from tiku.questions._unasked import unasked
from tiku.questions._weighing import Weighing, own_recipe
from tiku.questions._wording import grid_caveats, inside, join, with_interval

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
        runtimes = [c for m in usable if m.slot == "runtime" for c in m.candidates(situation)[:1]]
        proposals = []
        for method in usable:
            for rank, candidate in enumerate(method.candidates(situation)):
                proposals += self._alone_and_built(candidate, runtimes, rank)
        return tuple(sorted(proposals, key=lambda p: -p.priority))

    def _alone_and_built(self, candidate: Method, runtimes: Sequence[Method], rank: int) -> list[Proposal]:
        """The method on the default runtime; a number format also on each other runtime, just before,
        since it pays only where the runtime multiplies in it."""
        promise = candidate.promise - _LATER * rank
        alone = Proposal(Recipe.of(candidate), self.id, priority=promise)
        if candidate.slot != "numerics":
            return [alone]
        built = [
            replace(alone, recipe=Recipe.of(candidate, runtime), priority=promise + 0.1 * _LATER)
            for runtime in runtimes
            if not runtime.slow and _stand_together(candidate, runtime)
        ]
        return [*built, alone]

    def decide(self, evidence: Evidence) -> Answer:
        if not self.methods():
            return Answer("not measured", _NOTHING_BUILT)
        metric = self._deciding(evidence)
        if metric is None:
            return self._nothing_measured(evidence)
        compared = (t for t in evidence.trials if t.status == "done" and metric.name in t.against_base)
        weighing = Weighing(evidence, metric, tuple(compared))
        best = weighing.best()
        return Answer(
            verdict=self._weighed_verdict(evidence, weighing),
            answer=weighing.answer(),
            recommended=best.id if best else None,
            evidence=tuple(t.id for t in evidence.trials),
            caveats=(*weighing.caveats(), *_without_numbers(evidence), *self.caveats(evidence)),
            key_metric=metric.name,
        )

    def _weighed_verdict(self, evidence: Evidence, weighing: Weighing) -> AnswerVerdict:
        """Inconclusive where no recipe kept the quality, or none is better and one may yet be."""
        verdict = self._verdict(evidence)
        nothing_kept = not any(weighing.kept(t) for t in weighing.trials)
        undecided = weighing.best() is None and bool(weighing.open())
        if (nothing_kept and verdict != "fail") or (undecided and verdict == "informative"):
            return "inconclusive"
        return verdict

    def caveats(self, evidence: Evidence) -> tuple[Text, ...]:
        """What a reader must know beside the numbers, whatever the question: what the budget left out."""
        found = []
        if evidence.not_run:
            names = ", ".join(str(r) for r in evidence.not_run)
            found.append(Text(f"the budget left no room for: {names}", f"预算不足，未测：{names}"))
        found += unasked(self.methods(), evidence)
        found += remarks(evidence)
        if any(m.stage == "compress" for t in evidence.trials for m in t.recipe.methods()):
            found += grid_caveats(evidence.situation.facts)
        return tuple(found)

    def _deciding(self, evidence: Evidence) -> Metric | None:
        """The first wanted metric that some recipe was compared on; the exam's objective where it is one."""
        wanted = (evidence.objective, *self.gains) if evidence.objective in self.gains else self.gains
        compared = {name for t in evidence.trials if t.status == "done" for name in t.against_base}
        return next((evidence.metrics[n] for n in wanted if n in compared and n in evidence.metrics), None)

    def _verdict(self, evidence: Evidence) -> AnswerVerdict:
        """By the requirements on this question's metrics; without any there are only numbers to tell."""
        own = _own_requirements(evidence.requirements, self.metrics)
        if any(o.met is False for o in own):
            return "fail"
        if any(o.met is None for o in own):
            return "inconclusive"
        return "pass" if own else "informative"

    def _nothing_measured(self, evidence: Evidence) -> Answer:
        """No candidate gave a number: why, and what the base itself measured."""
        why = self._why_nothing(evidence)
        told = [name for name in self.metrics if name in evidence.base.metrics and name in evidence.metrics]
        tried = tuple(t.id for t in evidence.trials)
        if not told:
            verdict: AnswerVerdict = "inconclusive" if tried else "not measured"
            return Answer(verdict, why, evidence=tried, caveats=self.caveats(evidence))
        values = [
            Text(f"{inside(m.title).en} {shown}", f"{m.title.zh} {shown}")
            for m, shown in ((evidence.metrics[n], with_interval(evidence.base.metrics[n])) for n in told)
        ]
        base = join(values)
        return Answer(
            self._verdict(evidence),
            Text(f"The base: {base.en}. {why.en}", f"基线：{base.zh}。{why.zh}"),
            evidence=(evidence.base.id, *tried),
            caveats=self.caveats(evidence),
            key_metric=told[0],
        )

    def _why_nothing(self, evidence: Evidence) -> Text:
        if not evidence.trials:
            return _NO_ROOM if evidence.not_run else _NONE_PROPOSED
        reasons = [t.reason for t in evidence.trials if t.reason is not None]
        reasons += [w for t in evidence.trials if t.status == "done" for w in t.warnings]
        told = join(list(dict.fromkeys(reasons))) if reasons else Text("no reason recorded", "未记录原因")
        if any(t.status == "done" for t in evidence.trials):
            return Text(
                "Recipes were built, but none could be compared with the base on what this question asks "
                f"for: {told.en}.",
                f"已构建方案，但在此问题所问的指标上均无法与基线比较：{told.zh}。",
            )
        return Text(f"No method could be measured here: {told.en}.", f"此处没有方法可测：{told.zh}。")


_LATER = 0.1  # how much less each further config of a method promises
_NOTHING_BUILT = Text(
    "Not measured: this release has no method for this question yet. `tiku questions` holds the written "
    "answer.",
    "未测量：此版本尚无针对此问题的方法。文字解答见 `tiku questions`。",
)
_NONE_PROPOSED = Text(
    "No method was measured: none of this question's methods has a recipe to propose for this model beside "
    "what made the base.",
    "没有测量任何方法：除用于构建基线的方法外，此问题的方法对该模型没有可尝试的方案。",
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


def _without_numbers(evidence: Evidence) -> tuple[Text, ...]:
    """Recipes that were refused or failed, with their reasons."""
    named = [(str(own_recipe(t, evidence.base)), t.reason) for t in evidence.trials if t.status != "done"]
    parts = [
        Text(f"{name} ({why.en})" if why else name, f"{name}（{why.zh}）" if why else name)
        for name, why in named
    ]
    told = join(parts)
    return (Text(f"not measured: {told.en}", f"未测得：{told.zh}"),) if parts else ()


def _own_requirements(
    outcomes: Sequence[RequirementOutcome], metrics: Sequence[str]
) -> list[RequirementOutcome]:
    return [o for o in outcomes if o.expr.split()[0] in metrics]
