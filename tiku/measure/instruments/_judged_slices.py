"""Slices of the data: the accuracy of each, the worst of them, and where a candidate fell behind the base."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiku.core.measured import Measured
from tiku.core.metric import Metric
from tiku.core.text import Text
from tiku.measure import stats
from tiku.measure.instruments._judged import Judged

__all__ = ["slices_of"]

_LEAST = 50  # items from which a slice is judged
_ACCURACY = Metric("accuracy", "1", "higher", Text("Accuracy", "准确率"))


def slices_of(judged: Judged, base: Judged | None) -> dict[str, Any]:
    """By kind of slice: accuracy of each with enough items, worst first; the worst judged as such; and
    for a candidate the paired `changes` against the base, the largest loss first."""
    return {
        kind: _report(judged, names) | ({} if base is None else {"changes": _changes(base, judged, names)})
        for kind, names in judged.items.slices.items()
    }


def _report(judged: Judged, names: NDArray[Any]) -> dict[str, Any]:
    report = stats.slice_metric(_accuracy_of(judged), names, min_size=_LEAST)
    return {
        "metric": "accuracy",
        "slices": [{"name": str(one.name), **asdict(one.measured)} for one in report.slices],
        "too_small": [{"name": str(name), "n": n} for name, n in report.too_small],
        "worst": None
        if report.worst is None
        else {"name": str(report.slices[0].name), **asdict(report.worst)},
    }


def _accuracy_of(judged: Judged) -> Any:
    groups, plan = judged.items.groups, judged.protocol

    def accuracy(part: NDArray[np.int64], level: float) -> Measured:
        right = judged.right[part]
        if groups is None:
            return stats.proportion(right, level=level)
        if np.unique(groups[part]).size < 2:
            return Measured(float(right.mean()), None, None, part.size, "1", "measured", "one group")
        return stats.proportion(right, groups[part], level=level, replicates=plan.bootstrap, seed=plan.seed)

    return accuracy


def _changes(base: Judged, judged: Judged, names: NDArray[Any]) -> list[dict[str, Any]]:
    """Paired difference of accuracy in each slice; the intervals hold all together (Bonferroni)."""
    groups, plan, truth = judged.items.groups, judged.protocol, judged.items.truth
    parts = [(str(name), np.flatnonzero(names == name)) for name in np.unique(names)]
    sized = [(name, part) for name, part in parts if part.size >= _LEAST]
    if groups is not None:
        sized = [(name, part) for name, part in sized if np.unique(groups[part]).size > 1]
    found = []
    for name, part in sized:
        change = stats.compare_paired(
            _ACCURACY, truth[part], base.predicted[part], judged.predicted[part],
            None if groups is None else groups[part],
            level=1 - 0.05 / len(sized), replicates=plan.bootstrap, seed=plan.seed,
        )  # fmt: skip
        found.append({"name": name, "n": part.size, **asdict(change)})
    return sorted(found, key=lambda one: float(one["effect"]))
