"""Recipes whose gain shows only in text that the model writes itself: drafts, batches."""

from __future__ import annotations

from tiku.core.question import Evidence
from tiku.core.result import Trial
from tiku.core.text import Text
from tiku.questions._weighing import own_recipe

__all__ = ["own_text"]

_RATE, _STEP = "generated_tokens_per_second", "time_per_token"


def own_text(evidence: Evidence) -> tuple[Text, ...]:
    """Where answering requests turned out otherwise than equal steps over a given text say."""
    return tuple(
        _told(str(own_recipe(trial, evidence.base)), trial)
        for trial in evidence.trials
        if trial.status == "done" and _differs(trial)
    )


def _differs(trial: Trial) -> bool:
    if _RATE not in trial.against_base or _STEP not in trial.against_base:
        return False
    rate = trial.against_base[_RATE].verdict
    return rate in ("better", "worse") and rate != trial.against_base[_STEP].verdict


def _told(name: str, trial: Trial) -> Text:
    found = trial.against_base[_RATE]
    shown = f"×{found.effect:.2f} [{found.low:.2f}, {found.high:.2f}]"
    en, zh = _output(trial)
    return Text(
        f"{name} answers requests with its own text at {shown} the base's tokens per second{en}; the time "
        "per token is that of equal steps over a given text, where this does not show",
        f"{name} 用自己的文本回答请求时，每秒词元数为基线的 {shown}{zh}；"
        "每词元时间是对给定文本逐步等量计时，体现不出这一差别",
    )


def _output(trial: Trial) -> tuple[str, str]:
    same = trial.details.get("generate", {}).get("same_output")
    if same is None:
        return "", ""
    return (" (same output)", "（输出相同）") if same else (" (other output)", "（输出不同）")
