"""What operator fusion gave: a runtime's trial with it beside the same trial without."""

from __future__ import annotations

import math
from dataclasses import replace

from tiku.core.question import Evidence
from tiku.core.recipe import Recipe
from tiku.core.result import Trial
from tiku.core.text import Text
from tiku.core.verdict import Comparison
from tiku.questions._weighing import own_recipe
from tiku.questions._wording import inside

__all__ = ["fusion_gave"]

_SWITCH = "fusion"


def fusion_gave(evidence: Evidence) -> tuple[Text, ...]:
    """One line for each recipe that was measured both ways, on the first speed both were compared on."""
    done = {_identity(t.recipe): t for t in evidence.trials if t.status == "done"}
    pairs = ((done.get(_identity(_fused(t.recipe))), t) for t in done.values() if _unfused(t.recipe))
    return tuple(
        text for fused, apart in pairs if fused is not None for text in _told(evidence, fused, apart)
    )


def _told(evidence: Evidence, fused: Trial, apart: Trial) -> tuple[Text, ...]:
    for name in ("throughput", "p50_latency", "time_per_token"):
        if name in fused.against_base and name in apart.against_base:
            ratio, low, high = _ratio(fused.against_base[name], apart.against_base[name])
            amount, title = f"×{ratio:.2f} [{low:.2f}, {high:.2f}]", inside(evidence.metrics[name].title)
            recipe = own_recipe(fused, evidence.base)
            return (
                Text(
                    f"operator fusion inside {recipe}: {title.en} {amount} of the same graph run operator by "
                    "operator (each measured against the base in a run of its own)",
                    f"{recipe} 的算子融合：{title.zh}为同一计算图逐算子执行时的 {amount}"
                    "（两者各自与基线比较）",
                ),
            )
    return ()


def _ratio(a: Comparison, b: Comparison) -> tuple[float, float, float]:
    """a / b of two ratios to one base, with a 95 % interval: the logarithms' errors add in quadrature."""
    half = math.hypot(*(math.log(c.high / c.low) / 2 for c in (a, b)))
    ratio = a.effect / b.effect
    return ratio, ratio * math.exp(-half), ratio * math.exp(half)


def _unfused(recipe: Recipe) -> bool:
    return any(step.config.get(_SWITCH) is False for step in recipe.steps)


def _fused(recipe: Recipe) -> Recipe:
    steps = (
        replace(step, config={**step.config, _SWITCH: True}) if _SWITCH in step.config else step
        for step in recipe.steps
    )
    return replace(recipe, steps=tuple(steps))


def _identity(recipe: Recipe) -> str:
    return repr(
        [(step.method, sorted(step.config.items(), key=lambda item: item[0])) for step in recipe.steps]
    )
