"""Joins methods: a cheap additive model proposes, measurement disposes. Pure functions.

Every measured trial says how much it changed the objective against the base. The log ratio (or the
difference) is taken as a sum of one effect per step, fitted by least squares (minimum norm) over
all trials measured so far. Combinations are ranked by the sum of their steps' effects, the best
unmeasured one is measured next, and the fit is repeated, until nothing unmeasured promises more
than the best that was measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from tiku.core.errors import RecipeError
from tiku.core.hashing import hash_of
from tiku.core.metric import Metric
from tiku.core.recipe import Recipe, Step
from tiku.core.requirement import ASSURED, Requirement, assurance, evaluate
from tiku.core.result import Interaction, RequirementOutcome, Trial
from tiku.core.verdict import Comparison

__all__ = [
    "Choice",
    "Proposed",
    "assurance_of",
    "choose",
    "gain",
    "interactions",
    "judge_requirements",
    "next_recipe",
]

_MAX_STEPS = 12  # combinations of more steps than this are not enumerated exhaustively
_MOST_JOINED = 4  # measured recipes in one join
_TIE = 0.01  # objectives closer than this (relative) are settled by the shorter recipe
_PROMISE = 0.02  # a proposal must promise at least this relative gain over the best measured


@dataclass(frozen=True)
class Proposed:
    """A combination worth measuring and its predicted gain (see `gain`)."""

    recipe: Recipe
    predicted: float


@dataclass(frozen=True)
class Choice:
    """The chosen trial (or None), its requirements on validation, and the nearest miss."""

    trial: Trial | None
    outcomes: tuple[RequirementOutcome, ...]
    nearest_miss: Trial | None = None


def gain(metric: Metric, comparison: Comparison | None) -> float:
    """How much better than the base, additive over steps: log ratio or difference; 0 for the base."""
    if comparison is None:
        return 0.0
    raw = math.log(comparison.effect) if comparison.scale == "ratio" else comparison.effect
    return raw if metric.direction == "higher" else -raw


def judge_requirements(
    requirements: Sequence[Requirement], trial: Trial, base: Trial
) -> tuple[RequirementOutcome, ...]:
    """Each requirement on what the trial measured on validation."""
    return tuple(
        evaluate(
            r,
            trial.metrics.get(r.metric.name),
            base=base.metrics.get(r.metric.name),
            against_base=trial.against_base.get(r.metric.name),
        )
        for r in requirements
    )


def assurance_of(requirements: Sequence[Requirement], trial: Trial, base: Trial) -> float:
    """The chance of the least probable requirement to be met by another measurement; 1 without any."""
    chances = (
        assurance(
            r,
            trial.metrics.get(r.metric.name),
            base=base.metrics.get(r.metric.name),
            against_base=trial.against_base.get(r.metric.name),
        )
        for r in requirements
    )
    return min(chances, default=1.0)


def next_recipe(
    trials: Sequence[Trial],
    base: Trial,
    objective: Metric,
    requirements: Sequence[Requirement],
    tried: Iterable[Recipe],
) -> Proposed | None:
    """The unmeasured combination that promises most, or None when none promises enough."""
    done = [t for t in trials if t.status == "done" and objective.name in t.against_base]
    paid = [t for t in done if _pays(t, base, objective, requirements)]
    effects = _effects(done, base, objective)
    best = max((gain(objective, t.against_base[objective.name]) for t in paid), default=0.0)
    seen = {hash_of(r) for r in tried}
    fresh = [r for r in _unions(paid, base) if hash_of(r) not in seen]
    ranked = sorted(
        (Proposed(r, sum(effects.get(_key(s), 0.0) for s in _own_steps(r, base))) for r in fresh),
        key=lambda p: -p.predicted,
    )
    if not ranked or ranked[0].predicted < best + _PROMISE:
        return None
    return ranked[0]


def choose(
    trials: Sequence[Trial], base: Trial, objective: Metric, requirements: Sequence[Requirement]
) -> Choice:
    """The best trial that misses no requirement.

    Those whose success on the test split is probable come first, then those that are certain on
    validation, then those that cannot be told.
    """
    judged = [(t, judge_requirements(requirements, t, base)) for t in (base, *trials) if t.status == "done"]
    certain = [(t, o) for t, o in judged if all(x.met is True for x in o)]
    open_ones = [(t, o) for t, o in judged if not any(x.met is False for x in o)]
    assured = [(t, o) for t, o in certain if assurance_of(requirements, t, base) >= ASSURED]
    pool = assured or certain or open_ones
    if not pool:
        miss, outcomes = min(judged, key=lambda pair: _distance(pair[1], requirements))
        return Choice(None, outcomes, miss)
    best = max(_objective_gain(t, base, objective) for t, _ in pool)
    near = [(t, o) for t, o in pool if _objective_gain(t, base, objective) >= best - _TIE]
    trial, outcomes = min(near, key=lambda pair: len(pair[0].recipe.steps))
    return Choice(trial, outcomes)


def interactions(trials: Sequence[Trial], base: Trial, objective: Metric) -> tuple[Interaction, ...]:
    """For each measured join of recipes measured apart: the additive prediction and the observation."""
    done = {hash_of(t.recipe): t for t in trials if t.status == "done" and objective.name in t.against_base}
    found = []
    for trial in done.values():
        parts = _smallest_cover(trial, [t for t in done.values() if t is not trial], base)
        observed = trial.metrics.get(objective.name)
        if parts and observed is not None:
            total = sum(gain(objective, t.against_base[objective.name]) for t in parts)
            names = tuple(" + ".join(s.method for s in _own_steps(t.recipe, base)) for t in parts)
            predicted = _predicted_value(trial, total, objective)
            found.append(Interaction(names, predicted, observed, objective.name))
    return tuple(found)


def _predicted_value(trial: Trial, total: float, objective: Metric) -> float:
    comparison = trial.against_base[objective.name]
    signed = total if objective.direction == "higher" else -total
    return comparison.base * math.exp(signed) if comparison.scale == "ratio" else comparison.base + signed


def _smallest_cover(whole: Trial, others: Sequence[Trial], base: Trial) -> tuple[Trial, ...]:
    """The fewest measured recipes, without a common step, that together are the whole one."""
    target = sorted(_key(s) for s in _own_steps(whole.recipe, base))
    parts = [(t, [_key(s) for s in _own_steps(t.recipe, base)]) for t in others]
    fitting = [(t, keys) for t, keys in parts if keys and set(keys) < set(target)]
    for size in range(2, _MOST_JOINED + 1):
        for group in combinations(fitting, size):
            if sorted(key for _, keys in group for key in keys) == target:
                return tuple(t for t, _ in group)
    return ()


def _pays(trial: Trial, base: Trial, objective: Metric, requirements: Sequence[Requirement]) -> bool:
    """Better on the objective, and assured of the requirements that compare with the base."""
    relative = [r for r in requirements if r.relative]
    better = trial.against_base[objective.name].verdict == "better"
    return better and assurance_of(relative, trial, base) >= ASSURED


def _effects(trials: Sequence[Trial], base: Trial, objective: Metric) -> dict[str, float]:
    """Least-squares effect per step over all trials."""
    import numpy as np

    keys = sorted({_key(s) for t in trials for s in _own_steps(t.recipe, base)})
    if not keys:
        return {}
    rows = [{_key(s) for s in _own_steps(t.recipe, base)} for t in trials]
    design = np.array([[float(k in row) for k in keys] for row in rows])
    gains = np.array([gain(objective, t.against_base[objective.name]) for t in trials])
    fitted = np.linalg.lstsq(design, gains, rcond=None)[0]
    return dict(zip(keys, (float(x) for x in fitted), strict=True))


def _unions(paid: Sequence[Trial], base: Trial) -> list[Recipe]:
    """All unions of two or more paying recipes that can stand together."""
    strongest = list(paid)[:_MAX_STEPS]
    found: dict[str, Recipe] = {}
    for size in range(2, _MOST_JOINED + 1):
        for group in combinations(strongest, size):
            recipe = _join(group)
            if recipe is not None:
                found[hash_of(recipe)] = recipe
    return list(found.values())


def _join(group: Sequence[Trial]) -> Recipe | None:
    steps: dict[str, Step] = {}
    for trial in group:
        for step in trial.recipe.steps:
            steps[_key(step)] = step
    try:
        return Recipe.of(*(step.build() for step in steps.values()))
    except RecipeError:  # two methods of one slot: these recipes exclude each other
        return None


def _own_steps(recipe: Recipe, base: Trial) -> list[Step]:
    shared = {_key(s) for s in base.recipe.steps}
    return [s for s in recipe.steps if _key(s) not in shared]


def _key(step: Step) -> str:
    return hash_of(step)


def _objective_gain(trial: Trial, base: Trial, objective: Metric) -> float:
    if trial is base:
        return 0.0
    comparison = trial.against_base.get(objective.name)
    return -math.inf if comparison is None else gain(objective, comparison)


def _distance(
    outcomes: Sequence[RequirementOutcome], requirements: Sequence[Requirement]
) -> tuple[int, float]:
    """Missed requirements, then the summed relative distance to their thresholds."""
    missed = [o for o in outcomes if o.met is False and o.observed is not None and o.threshold is not None]
    far = sum(_relative_gap(o) for o in missed)
    return sum(o.met is False for o in outcomes), far


def _relative_gap(outcome: RequirementOutcome) -> float:
    assert outcome.observed is not None and outcome.threshold is not None  # filtered by the caller
    scale: float = abs(outcome.threshold) or 1.0
    return abs(outcome.observed.value - outcome.threshold) / scale
