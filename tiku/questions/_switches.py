"""A runtime's trial with one of its switches on, beside the same trial with it off."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tiku.core.question import Evidence
from tiku.core.recipe import Recipe
from tiku.core.result import Trial
from tiku.core.verdict import Comparison

__all__ = ["both_ways", "ratio_of"]


def both_ways(evidence: Evidence, switch: str) -> Iterator[tuple[Trial, Trial]]:
    """(on, off) for each recipe that was measured with the switch on and with it off."""
    done = {_identity(t.recipe): t for t in evidence.trials if t.status == "done"}
    for off in done.values():
        if any(step.config.get(switch) is False for step in off.recipe.steps):
            on = done.get(_identity(_switched_on(off.recipe, switch)))
            if on is not None:
                yield on, off


def ratio_of(on: Trial, off: Trial, names: Sequence[str]) -> tuple[str, tuple[float, float, float]] | None:
    """The first metric on which both were compared with one base, and on / off with its 95 % interval."""
    for name in names:
        if name in on.against_base and name in off.against_base:
            return name, _ratio(on.against_base[name], off.against_base[name])
    return None


def _ratio(a: Comparison, b: Comparison) -> tuple[float, float, float]:
    """a / b of two ratios to one base, with a 95 % interval: the logarithms' errors add in quadrature."""
    half = math.hypot(*(math.log(c.high / c.low) / 2 for c in (a, b)))
    ratio = a.effect / b.effect
    return ratio, ratio * math.exp(-half), ratio * math.exp(half)


def _switched_on(recipe: Recipe, switch: str) -> Recipe:
    steps = (
        replace(step, config={**step.config, switch: True}) if switch in step.config else step
        for step in recipe.steps
    )
    return replace(recipe, steps=tuple(steps))


def _identity(recipe: Recipe) -> str:
    return repr(
        [(step.method, sorted(step.config.items(), key=lambda item: item[0])) for step in recipe.steps]
    )
