"""Where an answer about speed changes: few tokens per pass (memory decides) against many (arithmetic)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiku.core.question import Evidence
from tiku.core.result import Trial
from tiku.core.text import Text
from tiku.questions._weighing import own_recipe

__all__ = ["regimes"]

_SMALL, _LARGE = "small_pass", "large_pass"


def regimes(evidence: Evidence) -> tuple[Text, ...]:
    """The base's turning point beside the machine's roofline, and the recipes whose verdict turns there."""
    details = evidence.base.details.get("scaling")
    told = _of_base(details) if isinstance(details, Mapping) else ()
    turned = [(str(own_recipe(t, evidence.base)), t) for t in evidence.trials if _turns(t)]
    return (*told, *(_turned(name, trial) for name, trial in turned))


def _of_base(details: Mapping[str, Any]) -> tuple[Text, ...]:
    if "roofline" not in details:
        return ()
    machine, tokens = details["roofline"], details["turning_point"]
    reads, computes = machine["bytes_per_second"] / 1e9, machine["flops_per_second"] / 1e9
    ridge = machine["ridge_tokens"]
    limits = f"{reads:.3g} GB/s, {computes:.3g} GFLOP/s"
    return (
        Text(
            "a pass of the base costs as much before its first token as the arithmetic of about "
            f"{tokens:.0f} tokens: with fewer tokens at once (batch × length) reading weights and calling "
            f"decide, with more arithmetic does; at this machine's measured limits (float32: {limits}) "
            f"float32 weights have that point at {ridge:.0f} tokens at best",
            f"基线的一次前向计算在处理第一个词元之前的开销约等于 {tokens:.0f} 个词元的计算量："
            "一次处理的词元（批量 × 长度）少于此数时由读取权重与调用开销决定，多于此数时由算力决定；"
            f"按本机实测上限（float32：{limits}），float32 权重的理想转折点为 {ridge:.0f} 个词元",
        ),
    )


def _turns(trial: Trial) -> bool:
    verdicts = {trial.against_base[n].verdict for n in (_SMALL, _LARGE) if n in trial.against_base}
    return verdicts == {"better", "worse"}


def _turned(name: str, trial: Trial) -> Text:
    small, large = (trial.against_base[n].effect for n in (_SMALL, _LARGE))
    few, many = f"×{small:.2f}", f"×{large:.2f}"
    return Text(
        f"the verdict on {name} turns with the tokens per pass: time {few} for few, {many} for many",
        f"{name} 的结论随一次处理的词元数而变：词元少时用时 {few}，多时 {many}",
    )
