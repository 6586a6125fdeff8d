"""The exam: prepare, measure the base, ask the questions, join methods, confirm, answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tiku.core import registry
from tiku.core.errors import CannotMeasure
from tiku.core.hashing import hash_of
from tiku.core.method import Situation
from tiku.core.question import Proposal, Question
from tiku.core.recipe import Recipe
from tiku.core.requirement import evaluate
from tiku.core.result import Confirmation, RequirementOutcome, Trial
from tiku.core.task import TASKS, Task
from tiku.examination.admission import admit
from tiku.examination.inputs import Inputs, load_inputs, remark_on
from tiku.examination.launcher import Launcher
from tiku.examination.ledger import Ledger, TrialSpec, trial_id
from tiku.examination.plan import Plan, Target, target_for
from tiku.examination.pool import Limits, run_trial
from tiku.examination.preparation import Prepared, prepare
from tiku.examination.search import Choice, choose, judge_requirements, next_recipe
from tiku.examination.timeline import Timeline, Watch, unwatched

__all__ = ["Exam", "Findings"]

_FIRST_TRIAL_SECONDS = 45.0  # expected until one has been measured
_CONFIRM_SHARE = 2.0  # a confirmation measures base and candidate: about two trials


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


class Exam:
    """One run over one folder. Interrupt it at any moment: another run goes on where it was."""

    def __init__(self, plan: Plan, watch: Watch = unwatched) -> None:
        self.plan = plan
        self.ledger = Ledger(plan.out / "trials")
        self._timeline = Timeline(plan.seconds(), watch)
        self._protocol = plan.protocol()
        self._seconds: list[float] = []

    def run(self) -> Findings:
        """Measure everything the plan asks for. Raises `BadInput` before anything runs,
        `CannotMeasure` when the base itself cannot be built or measured."""
        admit(self.plan)
        self._timeline.start("prepare")
        inputs = load_inputs(self.plan.inputs(), self._note)
        remark_on(inputs, self._timeline)
        prepared = prepare(inputs, self.plan, self._note)
        task = TASKS[prepared.task]
        target = target_for(self.plan, task)
        self._timeline.finish()
        with Launcher() as launcher:
            return self._measure(launcher, inputs, prepared, task, target)

    def _measure(
        self, launcher: Launcher, inputs: Inputs, prepared: Prepared, task: Task, target: Target
    ) -> Findings:
        runner = _Runner(self, launcher, prepared)
        base = runner.base(prepared.base_recipe)
        situation = prepared.situation(inputs, self.plan)
        proposals = self._proposals(situation)
        trials, not_run = self._singles(runner, base, proposals)
        if self.plan.search:
            trials = self._joins(runner, base, trials, target)
        choice = choose(trials, base, target.objective, target.requirements)
        confirmation, outcomes = None, choice.outcomes
        if self.plan.search and choice.trial is not None:
            confirmation, outcomes = self._confirm(runner, choice.trial, base, target)
        return Findings(
            self.plan, task, target, prepared, inputs, situation, base, tuple(trials), tuple(proposals),
            tuple(not_run), choice, confirmation, outcomes,
        )  # fmt: skip

    def _proposals(self, situation: Situation) -> list[Proposal]:
        names = self.plan.questions or registry.names("questions")
        questions: list[Question] = [registry.get("questions", name) for name in names]
        found = [p for question in questions for p in question.propose(situation)]
        return sorted(found, key=lambda p: -p.priority)

    def _singles(
        self, runner: _Runner, base: Trial, proposals: Sequence[Proposal]
    ) -> tuple[list[Trial], list[Recipe]]:
        """Every proposed recipe once, as far as the budget goes; what did not fit is named."""
        recipes = list({hash_of(p.recipe): p.recipe for p in proposals}.values())
        for recipe in recipes:
            runner.plan(recipe)
        self._timeline.expect("confirmation", self._reserve())
        trials, not_run = [], []
        for recipe in recipes:
            whole = base.recipe.plus(*recipe.methods())
            if runner.fits(whole, base):
                trials.append(runner.trial(whole, base))
            else:
                not_run.append(recipe)
                self._timeline.drop(str(recipe))
        return trials, not_run

    def _joins(self, runner: _Runner, base: Trial, trials: Sequence[Trial], target: Target) -> list[Trial]:
        """Measure the most promising join, learn from it, repeat."""
        found = list(trials)
        tried = [t.recipe for t in found]
        while True:
            proposal = next_recipe(found, base, target.objective, target.requirements, tried)
            if proposal is None or not runner.fits(proposal.recipe, base):
                return found
            tried.append(proposal.recipe)
            found.append(runner.trial(proposal.recipe, base))

    def _confirm(
        self, runner: _Runner, chosen: Trial, base: Trial, target: Target
    ) -> tuple[Confirmation | None, tuple[RequirementOutcome, ...]]:
        """Chosen and base on the untouched test split; requirements are decided there."""
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

    def _reserve(self) -> float:
        return _CONFIRM_SHARE * self.expected_seconds()

    def expected_seconds(self) -> float:
        """What a trial is expected to take, from those measured in this run."""
        return sorted(self._seconds)[len(self._seconds) // 2] if self._seconds else _FIRST_TRIAL_SECONDS

    def took(self, seconds: float) -> None:
        """Learn from a trial that really ran."""
        self._seconds.append(seconds)

    def _note(self, done: float, total: float, note: str) -> None:
        self._timeline.tell(note)

    @property
    def timeline(self) -> Timeline:
        """The progress of this run."""
        return self._timeline


class _Runner:
    """Turns recipes into trial folders and runs them."""

    def __init__(self, exam: Exam, launcher: Launcher, prepared: Prepared) -> None:
        self._exam, self._launcher, self._prepared = exam, launcher, prepared
        self._protocol = exam.plan.protocol()

    def base(self, recipe: Recipe) -> Trial:
        """The base. Raises `CannotMeasure` when it cannot be had: nothing could be compared."""
        trial = self._run(self._spec(recipe, None, None), "base")
        if trial.status != "done":
            raise CannotMeasure(
                "the base could not be built and measured",
                got=trial.reason.en if trial.reason else trial.status,
                next_step=f"read {self._exam.ledger.folder(trial.id).path / 'log.txt'} and run again",
            )
        return trial

    def plan(self, recipe: Recipe) -> None:
        """Tell the timeline that this will be measured."""
        self._exam.timeline.expect(str(recipe), self._exam.expected_seconds())

    def fits(self, recipe: Recipe, base: Trial) -> bool:
        """Whether the budget has room for the trial and the confirmation; a finished one always fits."""
        if self._exam.ledger.folder(self._id(recipe)).result() is not None:
            return True
        return self._exam.timeline.remaining() > 3.0 * self._exam.expected_seconds()

    def trial(self, recipe: Recipe, base: Trial) -> Trial:
        """Build and measure a recipe against the base."""
        own = Recipe(tuple(s for s in recipe.steps if s not in base.recipe.steps))
        return self._run(self._spec(recipe, base.id, self._parent(recipe, base)), str(own))

    def confirmation(self, chosen: Trial, base: Trial) -> Trial:
        """Measure a finished build on test."""
        compared = base.id if chosen.id != base.id else None
        spec = self._spec(chosen.recipe, compared, chosen.parent)
        id = self._id(chosen.recipe, role="confirmation")
        return self._run(replace(spec, id=id, role="confirmation", builds=chosen.id), "confirmation")

    def _parent(self, recipe: Recipe, base: Trial) -> str | None:
        """The base's build serves every recipe that trains exactly as the base did."""
        trained = tuple(m for m in recipe.methods() if m.stage == "train")
        return base.id if Recipe.of(*trained) == base.recipe else None

    def _id(self, recipe: Recipe, role: str = "trial") -> str:
        return trial_id(self._prepared.model_sha, self._prepared.data_sha, recipe, self._protocol, role=role)

    def _spec(self, recipe: Recipe, base: str | None, parent: str | None) -> TrialSpec:
        inputs = self._exam.plan.inputs()
        return TrialSpec(self._id(recipe), "trial", recipe, self._protocol, inputs, base, parent)

    def _run(self, spec: TrialSpec, title: str) -> Trial:
        folder = self._exam.ledger.folder(spec.id)
        if spec.base is None and (old := folder.result()) and old.status != "done":
            folder.forget()  # without a base there is no exam: try again
        cached = folder.result()
        if cached is not None:
            self._exam.timeline.drop(title)
            return cached
        folder.write_spec(spec)
        self._exam.timeline.start(title)
        trial = run_trial(folder, self._launcher, self._limits(spec), self._on_event)
        seconds = self._exam.timeline.finish()
        if spec.base is not None and trial.status == "done":
            self._exam.took(seconds)
        return trial

    def _limits(self, spec: TrialSpec) -> Limits:
        # A trial may be slow, not endless: the base may train for the whole budget and longer.
        generous = max(600.0, 3.0 * self._exam.plan.seconds())
        return Limits(seconds=generous)

    def _on_event(self, event: dict[str, Any]) -> None:
        if event.get("event") == "progress":
            share = event["done"] / max(event["total"], 1e-9)
            after = self._exam.expected_seconds() if event["stage"] == "build" else 0.0
            self._exam.timeline.fraction(event["stage"], share, after, event["note"])


def _measured(stored: dict[str, Any]) -> dict[str, Any]:
    import msgspec

    from tiku.core.measured import Measured

    return {name: msgspec.convert(value, Measured) for name, value in stored.items()}
