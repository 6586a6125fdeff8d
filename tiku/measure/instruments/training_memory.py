"""Peak memory of a training step, where a recipe says how it trains: found when it was built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiku.core.instrument import Instrument, Reading, Workbench
from tiku.core.metric import Metric
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.measure.clock_statistics import compare, geometric_mean, geometric_ratio

__all__ = ["INSTRUMENT", "TrainingMemory"]

_METRIC = Metric(
    "training_memory", "byte", "lower", Text("Peak memory of training", "训练的内存峰值"),
    frozenset({"text-classification"}), "ratio", 0.03,
)  # fmt: skip
_FACT = "activation_checkpointing"


class TrainingMemory(Instrument):
    """Activations recomputed against kept: one model and one batch, both ways in turn in one process."""

    name = "training_memory"
    metrics = (_METRIC,)
    cost_rank = 1

    def supports(self, bench: Workbench) -> Support:
        """Recipes that measured it."""
        if _found(bench):
            return Support.yes()
        return Support.no("this recipe does not change how it trains", "该方案不改变训练方式")

    def measure(self, bench: Workbench) -> Reading:
        """The peaks as they were found; no further process is started."""
        import numpy as np

        found = _found(bench)
        ours, theirs = (np.asarray(found[way], dtype=np.float64) for way in ("recomputed", "kept"))
        value = geometric_mean(ours, "byte")
        against = compare(
            _METRIC, geometric_mean(theirs, "byte").value, value.value, geometric_ratio(theirs, ours)
        )
        return Reading({_METRIC.name: value}, {_METRIC.name: against}, dict(found))


def _found(bench: Workbench) -> Mapping[str, Any]:
    from tiku.artefact.manifest import read_manifest

    if bench.base is None or not (bench.candidate.folder / "artefact.json").is_file():
        return {}
    found: Mapping[str, Any] = read_manifest(bench.candidate.folder).facts.get(_FACT) or {}
    return found


INSTRUMENT = TrainingMemory()
