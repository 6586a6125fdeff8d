"""What operator fusion gave: a runtime's trial with it beside the same trial without."""

from __future__ import annotations

from tiku.core.question import Evidence
from tiku.core.result import Trial
from tiku.core.text import Text
from tiku.questions._switches import both_ways, ratio_of
from tiku.questions._weighing import own_recipe
from tiku.questions._wording import inside

__all__ = ["fusion_gave"]

_SPEEDS = ("throughput", "p50_latency", "time_per_token")


def fusion_gave(evidence: Evidence) -> tuple[Text, ...]:
    """One line for each recipe that was measured both ways, on the first speed both were compared on."""
    return tuple(
        text for fused, apart in both_ways(evidence, "fusion") for text in _told(evidence, fused, apart)
    )


def _told(evidence: Evidence, fused: Trial, apart: Trial) -> tuple[Text, ...]:
    if (found := ratio_of(fused, apart, _SPEEDS)) is None:
        return ()
    name, (ratio, low, high) = found
    amount, title = f"×{ratio:.2f} [{low:.2f}, {high:.2f}]", inside(evidence.metrics[name].title)
    recipe = own_recipe(fused, evidence.base)
    return (
        Text(
            f"operator fusion inside {recipe}: {title.en} {amount} of the same graph run operator by "
            "operator (each measured against the base in a run of its own)",
            f"{recipe} 的算子融合：{title.zh}为同一计算图逐算子执行时的 {amount}（两者各自与基线比较）",
        ),
    )
