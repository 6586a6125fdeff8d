"""Bytes on disk, and the number of parameters where the files tell it."""

from __future__ import annotations

import math
from pathlib import Path

from tiku.core.errors import CannotMeasure, ModelError
from tiku.core.instrument import Instrument, Reading, Workbench
from tiku.core.measured import Measured
from tiku.core.metric import Metric
from tiku.core.text import Text
from tiku.core.verdict import Comparison, Support, judge
from tiku.weightfiles.listing import stored_tensors

__all__ = ["INSTRUMENT", "Size", "safetensors_parameters"]

_FLOATING = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")


class Size(Instrument):
    """Counts the files of the artefact's model folder (weights, graph, processor)."""

    name = "size"
    metrics = (
        Metric(
            "artefact_size", "byte", "lower", Text("Size on disk", "磁盘占用"),
            scale="ratio", margin=0.01, aliases=("size", "model_size"),
        ),
        Metric(
            "parameters", "1", "lower", Text("Parameters", "参数量"), scale="ratio", margin=0.01,
        ),
    )  # fmt: skip
    cost_rank = 1

    def supports(self, bench: Workbench) -> Support:
        """Everything that lies in a folder."""
        return Support.yes()

    def measure(self, bench: Workbench) -> Reading:
        """Count. Raises `CannotMeasure` when there is no model file."""
        files = model_files(bench.candidate.folder)
        metrics = _count(files)
        against: dict[str, Comparison] = {}
        if bench.base is not None:
            base = _count(model_files(bench.base.folder))
            against = {
                metric.name: _exact_ratio(metric, base[metric.name].value, metrics[metric.name].value)
                for metric in self.metrics
                if metric.name in base and metric.name in metrics
            }
        root = bench.candidate.folder
        return Reading(
            metrics,
            against,
            {"files": {str(f.relative_to(root).as_posix()): f.stat().st_size for f in files}},
        )


def model_files(artefact: Path) -> list[Path]:
    """The files of the artefact's model folder, sorted."""
    from tiku.artefact.manifest import MODEL

    files = sorted(path for path in (artefact / MODEL).rglob("*") if path.is_file())
    if not files:
        raise CannotMeasure(
            "the artefact has no model files", got=artefact / MODEL, next_step="build the artefact again"
        )
    return files


def _count(files: list[Path]) -> dict[str, Measured]:
    size = sum(path.stat().st_size for path in files)
    found = {"artefact_size": Measured.exact(size, "byte", n=len(files))}
    weights = [path for path in files if path.suffix == ".safetensors"]
    if weights:
        found["parameters"] = Measured.exact(sum(map(safetensors_parameters, weights)), "1")
    return found


def safetensors_parameters(path: Path) -> int:
    """Elements of the floating-point tensors, from the header alone; shared tensors are stored once,
    and coded tensors count as what they decode to.

    Raises `CannotMeasure` when the file is cut short or is not safetensors.
    """
    try:
        tensors = stored_tensors(path)
    except ModelError as error:
        raise CannotMeasure(
            "this is not a safetensors file", got=error.got, next_step="build the artefact again"
        ) from error
    return sum(math.prod(shape) for dtype, shape in tensors.values() if dtype in _FLOATING)


def _exact_ratio(metric: Metric, base: float, value: float) -> Comparison:
    ratio = value / base
    return Comparison(
        base, value, "ratio", ratio, ratio, ratio, judge(metric, ratio, ratio), 0.0, "exact count"
    )


INSTRUMENT = Size()
