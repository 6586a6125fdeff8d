"""Turns recipes into trial folders, runs them, and learns how long they take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import median
from typing import Any

from tiku.core.errors import CannotMeasure
from tiku.core.recipe import Recipe
from tiku.core.result import Trial
from tiku.core.text import Text
from tiku.examination.integrity import damage
from tiku.examination.launcher import Launcher
from tiku.examination.ledger import Ledger, TrialFolder, TrialSpec, trial_id
from tiku.examination.plan import Plan
from tiku.examination.pool import Limits, run_trial
from tiku.examination.preparation import Prepared
from tiku.examination.standing import standing
from tiku.examination.timeline import Timeline

__all__ = ["Runner"]

_FIRST_TRIAL_SECONDS = 45.0  # expected until the base has been measured
_BUILD_SECONDS = 5.0  # beside the measuring, which takes about as long as that of the base
_TRAINING_SHARE = 0.4  # of the budget, until the training's own progress tells
_CONFIRM_SHARE = 2.0  # a confirmation measures base and candidate
_LEAST_LIMIT = 60.0
_GENEROUS_LIMIT = 600.0  # of what must not fail: the base, the confirmation


class Runner:
    """Runs the trials of one exam. `notes` says what was found damaged and made again."""

    def __init__(
        self, plan: Plan, prepared: Prepared, ledger: Ledger, launcher: Launcher, timeline: Timeline
    ) -> None:
        self._plan, self._prepared, self._ledger = plan, prepared, ledger
        self._launcher, self._timeline = launcher, timeline
        self._protocol = plan.protocol()
        self._first = _FIRST_TRIAL_SECONDS
        self._seconds: list[float] = []  # of each trial, and of its measuring alone
        self._measuring: list[float] = []
        self.notes: list[Text] = []

    def base(self) -> Trial:
        """The base. Raises `CannotMeasure` when it cannot be had: nothing could be compared."""
        trial = self._run(self._spec(self._prepared.base_recipe, None, None), "base", thorough=True)
        folder = self._ledger.folder(trial.id)
        if trial.status != "done":
            raise CannotMeasure(
                "the base could not be built and measured",
                got=trial.reason.en if trial.reason else trial.status,
                next_step=f"read {folder.path / 'log.txt'} and run again",
            )
        self._first = _BUILD_SECONDS + (_measuring(folder) or _FIRST_TRIAL_SECONDS - _BUILD_SECONDS)
        return trial

    def trial(self, recipe: Recipe, base: Trial, *, thorough: bool = False) -> Trial:
        """Build and measure a recipe against the base. `thorough` checks every hash of a known one."""
        spec = self._spec(recipe, base.id, self._parent(recipe, base))
        return self._run(spec, str(self.own_steps(recipe)), thorough=thorough)

    def insist_on(self, chosen: Trial, base: Trial) -> None:
        """Check every hash of the chosen build; one that is damaged is built and measured again."""
        if chosen.id != base.id:  # the base was checked when the exam began
            self.trial(chosen.recipe, base, thorough=True)

    def confirmation(self, chosen: Trial, base: Trial) -> Trial:
        """Measure a finished build on test."""
        compared = base.id if chosen.id != base.id else None
        spec = self._spec(chosen.recipe, compared, chosen.parent)
        spec = replace(
            spec, id=self._id(chosen.recipe, "confirmation"), role="confirmation", builds=chosen.id
        )
        folder = self._ledger.folder(spec.id)
        if (known := folder.result()) and (known.status != "done" or self._outdated(folder, chosen, base)):
            folder.forget()
        self._timeline.expect(spec.id, self.reserve())
        return self._run(spec, "confirmation")

    def own_steps(self, recipe: Recipe) -> Recipe:
        """The steps that the base has not."""
        return Recipe(tuple(s for s in recipe.steps if s not in self._prepared.base_recipe.steps))

    def expect(self, recipe: Recipe) -> None:
        """Tell the timeline that this will be measured, unless it was."""
        trains = recipe.steps and recipe == self._prepared.base_recipe
        seconds = _TRAINING_SHARE * self._plan.seconds() if trains else self.expected_seconds()
        if self._ledger.folder(self._id(recipe)).result() is None:
            self._timeline.expect(self._id(recipe), seconds)

    def drop(self, recipe: Recipe) -> None:
        """Tell the timeline that this will not be measured."""
        self._timeline.drop(self._id(recipe))

    def fits(self, recipe: Recipe, spare: int = 0) -> bool:
        """Whether the budget has room for the trial, `spare` more and the confirmation; a finished one
        always fits."""
        if standing(self._ledger.folder(self._id(recipe)), self._limits()) is not None:
            return True
        return self._timeline.remaining() > (1 + spare) * self.expected_seconds() + self.reserve()

    def expected_seconds(self) -> float:
        """What a trial is expected to take, from those measured so far."""
        return median(self._seconds) if self._seconds else self._first

    def reserve(self) -> float:
        """What the confirmation is expected to take: it builds nothing."""
        return _CONFIRM_SHARE * (median(self._measuring) if self._measuring else self._first)

    def _outdated(self, folder: TrialFolder, *measured: Trial) -> bool:
        """Whether a build was made and measured again after this confirmation."""
        paths = [self._ledger.folder(t.id).path / "result.json" for t in measured]
        own = (folder.path / "result.json").stat().st_mtime_ns
        return any(path.stat().st_mtime_ns > own for path in paths)

    def _parent(self, recipe: Recipe, base: Trial) -> str | None:
        """The base's build serves every recipe that trains exactly as the base did."""
        trained = tuple(m for m in recipe.methods() if m.stage == "train")
        return base.id if Recipe.of(*trained) == base.recipe else None

    def _id(self, recipe: Recipe, role: str = "trial") -> str:
        return trial_id(self._prepared.model_sha, self._prepared.data_sha, recipe, self._protocol, role=role)

    def _spec(self, recipe: Recipe, base: str | None, parent: str | None) -> TrialSpec:
        return TrialSpec(self._id(recipe), "trial", recipe, self._protocol, self._plan.inputs(), base, parent)

    def _run(self, spec: TrialSpec, title: str, *, thorough: bool = False) -> Trial:
        folder = self._ledger.folder(spec.id)
        folder.write_spec(spec)
        needed = spec.base is None or spec.role == "confirmation"
        if needed and (old := folder.result()) and old.status != "done":
            folder.forget()  # without it there is no exam: try again
        limits = self._limits(needed)
        trial = self._kept(folder, limits, title, thorough)
        if trial is None:
            self._timeline.start(spec.id, title)
            trial = run_trial(folder, self._launcher, limits, self._on_event)
            self._timeline.finish()
        self._timeline.drop(spec.id)
        if not needed and trial.status == "done" and trial.cost is not None:
            self._seconds.append(trial.cost.seconds)
            self._measuring.append(_measuring(folder) or trial.cost.seconds)
        return trial

    def _kept(self, folder: TrialFolder, limits: Limits, title: str, thorough: bool) -> Trial | None:
        """The outcome of an earlier run, if it stands and what it was measured on is whole."""
        trial = standing(folder, limits)
        if trial is None or trial.status != "done":
            return trial
        found = damage(folder, thorough=thorough)
        if found is None:
            return trial
        folder.event("damaged", what=found)
        folder.forget(build=True)
        note = Text(
            f"{title}: damaged on the disk, made again ({found})",
            f"{title}：磁盘上已损坏，重新生成（{found}）",
        )
        self.notes.append(note)
        self._timeline.remark(note)
        return None

    def _limits(self, needed: bool = False) -> Limits:
        """A trial may be slow, not endless; what the exam cannot do without may take much longer."""
        budget = self._plan.seconds()
        if needed:
            return Limits(seconds=max(_GENEROUS_LIMIT, 3.0 * budget))
        room = min(0.5 * budget, self._timeline.remaining() - self.reserve())
        return Limits(seconds=max(_LEAST_LIMIT, 3.0 * self.expected_seconds(), room))

    def _on_event(self, event: Mapping[str, Any]) -> None:
        if event.get("event") == "progress":
            share = event["done"] / max(event["total"], 1e-9)
            after = self.expected_seconds() if event["stage"] == "build" else 0.0
            self._timeline.fraction(event["stage"], share, after, event["note"])


def _measuring(folder: TrialFolder) -> float | None:
    """Seconds that measuring took, as the trial's events tell."""
    found = (float(e["seconds"]) for e in folder.events() if e["event"] == "measured")
    return next(found, None)
