"""The exam: prepare, measure the base, ask the questions, join methods, confirm, answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tiku.core import registry
from tiku.core.hashing import hash_of
from tiku.core.method import Situation
from tiku.core.question import Proposal, Question
from tiku.core.recipe import Recipe
from tiku.core.requirement import evaluate
from tiku.core.result import Confirmation, RequirementOutcome, Trial
from tiku.core.task import TASKS, Task
from tiku.core.text import Text
from tiku.examination.admission import admit
from tiku.examination.inputs import Inputs, load_inputs, remark_on
from tiku.examination.launcher import Launcher
from tiku.examination.ledger import Ledger
from tiku.examination.plan import Plan, Target, target_for
from tiku.examination.preparation import Prepared, prepare
from tiku.examination.repeating import answered_before, plan_values
from tiku.examination.runner import Runner
from tiku.examination.search import Choice, choose, judge_requirements, next_recipe
from tiku.examination.timeline import Timeline, Watch, unwatched

__all__ = ["Exam", "Findings"]

_JOINS_EXPECTED = 2
_REPORT_SECONDS = 8.0  # the artefact's check in a fresh process, and the page


@dataclass(frozen=True)
class Findings:
    """Everything an exam measured; `tiku.examination.assembly` turns it into a `Result`."""

    plan: Plan
    task: Task
    target: Target
    prepared: Prepared
    inputs: Inputs
    situation: Situation
    base: Trial
    trials: tuple[Trial, ...]
    proposals: tuple[Proposal, ...]
    not_run: tuple[Recipe, ...]
    choice: Choice
    confirmation: Confirmation | None
    outcomes: tuple[RequirementOutcome, ...]
    notes: tuple[Text, ...] = ()  # what was damaged and made again


class Exam:
    """One run over one folder. Interrupt it at any moment: another run goes on where it was."""

    def __init__(self, plan: Plan, watch: Watch = unwatched) -> None:
        self.plan = plan
        self.ledger = Ledger(plan.out / "trials")
        self.timeline = Timeline(plan.seconds(), watch)

    def run(self) -> Findings:
        """Measure everything the plan asks for. Raises `BadInput` before anything runs,
        `CannotMeasure` when the base itself cannot be built or measured."""
        admit(self.plan)
        with Launcher(self.plan.inputs()) as launcher:
            self.timeline.start("prepare")
            if not any(self.ledger.root.glob("*/result.json")):
                launcher.warm()
            inputs = load_inputs(self.plan.inputs(), self._note)
            remark_on(inputs, self.timeline)
            prepared = prepare(inputs, self.plan, self._note)
            task = TASKS[prepared.task]
            target = target_for(self.plan, task)
            self.timeline.finish()
            runner = Runner(self.plan, prepared, self.ledger, launcher, self.timeline)
            return self._measure(runner, inputs, prepared, task, target)

    def _measure(
        self, runner: Runner, inputs: Inputs, prepared: Prepared, task: Task, target: Target
    ) -> Findings:
        situation = prepared.situation(inputs, self.plan)
        proposals = self._proposals(situation)
        recipes = _once([p.recipe for p in proposals])
        self._expect(runner, prepared.base_recipe, recipes)
        base = runner.base()
        told = answered_before(self.plan, plan_values(self.plan, target, proposals), base.id, self.ledger)
        if told is None:
            trials, not_run = self._try(runner, base, recipes, target)
        else:
            trials, not_run = self._tell(runner, base, recipes, told, target)
        choice = choose(trials, base, target.objective, target.requirements)
        confirmation, outcomes = None, choice.outcomes
        if self.plan.search and choice.trial is not None:
            confirmation, outcomes = self._confirm(runner, choice.trial, base, target)
        return Findings(
            self.plan, task, target, prepared, inputs, situation, base, tuple(trials), tuple(proposals),
            tuple(not_run), choice, confirmation, outcomes, tuple(runner.notes),
        )  # fmt: skip

    def _try(
        self, runner: Runner, base: Trial, recipes: Sequence[Recipe], target: Target
    ) -> tuple[list[Trial], list[Recipe]]:
        """Singles and joins as far as the budget goes. The usual singles leave time for joins, and less of
        it in each round; the slow ones come last. What did not fit is named."""
        trials: list[Trial] = []
        unjoined: list[Recipe] = []
        late, slow = _by_pace(recipes)
        joins = min(_JOINS_EXPECTED, len(late) // 2) if self.plan.search else 0
        for spare in range(joins, -1, -1):
            measured, late = self._singles(runner, base, late, spare)
            trials, unjoined = self._joins(runner, base, [*trials, *measured], target)
        measured, left = self._singles(runner, base, slow, 0)
        trials, unjoined = self._joins(runner, base, [*trials, *measured], target)
        return trials, _once([*late, *left, *unjoined])

    def _tell(
        self, runner: Runner, base: Trial, recipes: Sequence[Recipe], told: Sequence[Recipe], target: Target
    ) -> tuple[list[Trial], list[Recipe]]:
        """What the same exam measured before; begins nothing."""
        trials = [runner.trial(recipe, base) for recipe in told]
        left = [r for r in recipes if base.recipe.plus(*r.methods()) not in told]
        promising = self._next_join(base, trials, target)
        return trials, _once([*left, *([runner.own_steps(promising)] if promising else [])])

    def _proposals(self, situation: Situation) -> list[Proposal]:
        names = self.plan.questions or registry.names("questions")
        questions: list[Question] = [registry.get("questions", name) for name in names]
        found = [p for question in questions for p in question.propose(situation)]
        return sorted(found, key=lambda p: -p.priority)

    def _expect(self, runner: Runner, base: Recipe, recipes: Sequence[Recipe]) -> None:
        """Tell the timeline everything that lies ahead."""
        runner.expect(base)
        for recipe in recipes:
            runner.expect(base.plus(*recipe.methods()))
        if self.plan.search:
            joins = min(_JOINS_EXPECTED, len(recipes) // 2)
            self.timeline.expect("joins", joins * runner.expected_seconds())
            self.timeline.expect("confirmation", runner.reserve())
            self.timeline.expect("report", _REPORT_SECONDS)

    def _singles(
        self, runner: Runner, base: Trial, recipes: Sequence[Recipe], spare: int
    ) -> tuple[list[Trial], list[Recipe]]:
        """Every proposed recipe once, as far as the budget goes with `spare` trials kept for joins; what
        did not fit is named."""
        trials, not_run = [], []
        for position, recipe in enumerate(recipes):
            self._expect(runner, base.recipe, recipes[position:])  # from what the last one took
            whole = base.recipe.plus(*recipe.methods())
            if runner.fits(whole, spare):
                trials.append(runner.trial(whole, base))
            else:
                not_run.append(recipe)
                runner.drop(whole)
        return trials, not_run

    def _joins(
        self, runner: Runner, base: Trial, trials: Sequence[Trial], target: Target
    ) -> tuple[list[Trial], list[Recipe]]:
        """Measure the most promising join, learn from it, repeat; the join that did not fit is named."""
        found = list(trials)
        self.timeline.drop("joins")
        while recipe := self._next_join(base, found, target):
            if not runner.fits(recipe):
                return found, [runner.own_steps(recipe)]
            found.append(runner.trial(recipe, base))
        return found, []

    def _next_join(self, base: Trial, trials: Sequence[Trial], target: Target) -> Recipe | None:
        if not self.plan.search:
            return None
        tried = [t.recipe for t in trials]
        found = next_recipe(trials, base, target.objective, target.requirements, tried)
        return found.recipe if found else None

    def _confirm(
        self, runner: Runner, chosen: Trial, base: Trial, target: Target
    ) -> tuple[Confirmation | None, tuple[RequirementOutcome, ...]]:
        """Chosen and base on the untouched test split; requirements are decided there."""
        runner.insist_on(chosen, base)
        self.timeline.drop("confirmation")
        trial = runner.confirmation(chosen, base)
        if trial.status != "done":
            return None, judge_requirements(target.requirements, chosen, base)
        stored: dict[str, Any] = trial.details.get("base", {})
        base_metrics = {**base.metrics, **_measured(stored)} if chosen.id != base.id else dict(trial.metrics)
        outcomes = tuple(
            evaluate(
                r,
                trial.metrics.get(r.metric.name),
                base=base_metrics.get(r.metric.name),
                against_base=trial.against_base.get(r.metric.name),
                on="test",
            )
            for r in target.requirements
        )
        confirmation = Confirmation(
            chosen.id, trial.metrics, base_metrics, trial.against_base, {}, details=trial.details
        )
        return confirmation, outcomes

    def _note(self, done: float, total: float, note: str) -> None:
        self.timeline.tell(note)


def _measured(stored: dict[str, Any]) -> dict[str, Any]:
    import msgspec

    from tiku.core.measured import Measured

    return {name: msgspec.convert(value, Measured) for name, value in stored.items()}


def _once(recipes: Sequence[Recipe]) -> list[Recipe]:
    return list({hash_of(r): r for r in recipes}.values())


def _by_pace(recipes: Sequence[Recipe]) -> tuple[list[Recipe], list[Recipe]]:
    """(the usual ones, those with a step that takes minutes to build or open), each in its order."""
    slow = [recipe for recipe in recipes if any(m.slow for m in recipe.methods())]
    return [recipe for recipe in recipes if recipe not in slow], slow
