"""What a recommended recipe makes worse beside the metric it was chosen for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiku.core.question import Evidence
from tiku.core.result import Trial
from tiku.core.text import Text
from tiku.questions._wording import change, inside, join, points, with_interval

__all__ = ["collateral"]

_MANY_FLIPS = 0.02  # one prediction in fifty: no longer the same model to those who use it


def collateral(evidence: Evidence, trial: Trial) -> tuple[Text, ...]:
    """Metrics that got worse (calibration, memory, …), predictions that flipped, slices that lost."""
    return (*_worse(evidence, trial), *_flips(evidence, trial), *_slices(trial))


def _worse(evidence: Evidence, trial: Trial) -> tuple[Text, ...]:
    parts = [
        change(evidence.metrics[name], comparison)
        for name, comparison in trial.against_base.items()
        if comparison.verdict == "worse" and name in evidence.metrics
    ]
    if not parts:
        return ()
    told = join(parts)
    return (Text(f"the recommended recipe makes worse: {told.en}", f"推荐方案使下列指标变差：{told.zh}"),)


def _flips(evidence: Evidence, trial: Trial) -> tuple[Text, ...]:
    found = []
    for name, measured in trial.metrics.items():
        if name.endswith("flip_rate") and measured.value > _MANY_FLIPS and name in evidence.metrics:
            title, shown = inside(evidence.metrics[name].title), with_interval(measured)
            moved = _moved(name, trial.details)
            found.append(Text(f"{title.en}: {shown}{moved.en}", f"{title.zh}：{shown}{moved.zh}"))
    return tuple(found)


def _moved(name: str, details: Mapping[str, Any]) -> Text:
    """How many became wrong and how many right, from the instrument that counted them."""
    instrument = "multiple_choice" if name.startswith("choice") else "classification_quality"
    flips = (details.get(instrument) or {}).get("flips")
    if not flips:
        return Text("", "")
    lost, won = f"{flips['lost']:,}", f"{flips['won']:,}"
    return Text(f" ({lost} became wrong, {won} became right)", f"（{lost} 个由对变错，{won} 个由错变对）")


def _slices(trial: Trial) -> tuple[Text, ...]:
    """The slice of each kind that lost most, where the loss is certain among all slices of its kind."""
    found = []
    kinds = (trial.details.get("classification_quality") or {}).get("slices") or {}
    for kind, report in kinds.items():
        lost = [one for one in report.get("changes") or () if one["verdict"] == "worse"]
        if lost:
            worst = min(lost, key=lambda one: float(one["effect"]))
            where = f"{kind} = {worst['name']}"
            amount = points(worst["effect"], worst["low"], worst["high"])
            found.append(
                Text(
                    f"accuracy fell on the slice {where} ({worst['n']:,} items): {amount}",
                    f"切片 {where}（{worst['n']:,} 个样本）上的准确率下降：{amount}",
                )
            )
    return tuple(found)
