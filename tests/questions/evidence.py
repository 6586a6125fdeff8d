"""Made-up measurements of one question, small enough to see what its decision must be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tiku.core.instrument import all_metrics
from tiku.core.measured import Measured
from tiku.core.method import Situation
from tiku.core.question import Evidence
from tiku.core.recipe import Recipe, Step
from tiku.core.result import RequirementOutcome, Trial
from tiku.core.text import Text
from tiku.core.verdict import Comparison, judge

__all__ = ["METRICS", "compared", "evidence", "outcome", "trial"]

METRICS = all_metrics()
_BASE = {
    "accuracy": (0.85, 1_000), "ece": (0.03, 1_000), "throughput": (100.0, 7), "p50_latency": (0.02, 72),
    "peak_memory": (400e6, 3), "artefact_size": (90e6, 1), "energy_per_1000": (60.0, 7),
    "perplexity": (20.0, 16_000), "choice_accuracy": (0.6, 200), "time_per_token": (0.05, 7),
    "small_pass": (0.01, 5), "large_pass": (0.2, 5), "generated_tokens_per_second": (15.0, 4),
}  # fmt: skip


def compared(name: str, effect: float, half: float, *, sees: float | None = None) -> Comparison:
    """Candidate against base: `effect` with this half-width (of the logarithm, for a ratio)."""
    metric, base = METRICS[name], _BASE[name][0]
    if metric.scale == "ratio":
        low, high, value = effect * math.exp(-half), effect * math.exp(half), base * effect
        detectable = math.expm1(half / 1.959964 * 2.801585) if sees is None else sees
    else:
        low, high, value = effect - half, effect + half, base + effect
        detectable = half / 1.959964 * 2.801585 if sees is None else sees
    verdict = judge(metric, low, high)
    return Comparison(base, value, metric.scale, effect, low, high, verdict, detectable, "made up")


def trial(
    id: str,
    *methods: str,
    status: Any = "done",
    reason: Text | None = None,
    details: Any = None,
    **found: Any,
) -> Trial:
    """A recipe of these methods. `found`: metric=(effect, half) against the base, or metric=Measured."""
    steps = tuple(Step(name, {}) for name in methods or (id,))
    against = {n: compared(n, *v) for n, v in found.items() if isinstance(v, tuple)}
    metrics = {
        n: Measured(c.value, None, None, _BASE[n][1], METRICS[n].unit, "measured", "made up")
        for n, c in against.items()
    } | {n: v for n, v in found.items() if isinstance(v, Measured)}
    return Trial(id, "base", Recipe(steps), status, reason, metrics, against, details or {})


def evidence(
    *trials: Trial,
    task: str = "text-classification",
    objective: str = "throughput",
    requirements: tuple[RequirementOutcome, ...] = (),
    not_run: tuple[Recipe, ...] = (),
    base_has: tuple[str, ...] = ("accuracy", "ece", "throughput", "peak_memory"),
    facts: Mapping[str, Any] | None = None,
    others: tuple[Trial, ...] = (),
) -> Evidence:
    """The base beside these trials."""
    metrics = {n: _with_interval(n) for n in base_has}
    base = replace(trial("base"), parent=None, recipe=Recipe(), metrics=metrics)
    situation = Situation(task, "made up", "cpu", 1_000, facts=facts or {})
    return Evidence(
        situation, base, trials, requirements, METRICS, objective, {}, not_run=not_run, others=others
    )


def _with_interval(name: str) -> Measured:
    value, n = _BASE[name]
    return Measured(value, 0.9 * value, 1.1 * value, n, METRICS[name].unit, "measured", "made up")


def outcome(expr: str, met: bool | None) -> RequirementOutcome:
    """A requirement of the exam, already judged."""
    return RequirementOutcome(expr, met, None, "test", None, None if met else Text("because", "因为"))
