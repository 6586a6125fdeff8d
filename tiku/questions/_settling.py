"""What it would take to settle a comparison that reads "cannot tell"."""

from __future__ import annotations

import math

from tiku.core.metric import Metric
from tiku.core.text import Text
from tiku.core.verdict import Comparison

__all__ = ["needed", "needed_text"]

_COUNTED_BY_ITEM = ("1", "bit")  # units of quality; the others are measured by repeating the same work


def needed(metric: Metric, comparison: Comparison, n: int) -> int:
    """The `n` at which the same effect would be better, worse or equivalent (half-width ∝ 1/√n).

    `n`: what the comparison rests on now. The nearer of the two ways out counts: an interval that leaves
    "no change" outside, or one that lies within the margin.
    """
    effect, low, high = comparison.effect, comparison.low, comparison.high
    ends = -metric.margin, metric.margin
    if comparison.scale == "ratio":
        effect, low, high = (math.log(max(x, 1e-300)) for x in (effect, low, high))
        ends = math.log(max(1 - metric.margin, 1e-300)), math.log1p(metric.margin)
    up, down = high - effect, effect - low
    ways = []
    if effect:
        ways.append((down if effect > 0 else up) / abs(effect))
    if ends[0] < effect < ends[1]:
        ways.append(max(up / (ends[1] - effect), down / (effect - ends[0])))
    shrink = min((max(1.0, way) for way in ways), default=1.0)
    return max(1, math.ceil(n * shrink**2 * (1 - 1e-12)))


def needed_text(metric: Metric, comparison: Comparison, n: int) -> Text:
    """ "about 1,200 items would be needed, 400 were measured" """
    count = f"{needed(metric, comparison, n):,}"
    if metric.unit in _COUNTED_BY_ITEM:
        return Text(
            f"about {count} items would be needed ({n:,} now)", f"约需 {count} 个样本（现有 {n:,} 个）"
        )
    return Text(
        f"about {count} measurements would be needed ({n:,} now)", f"约需测量 {count} 次（现为 {n:,} 次）"
    )
