"""Peak memory of a fresh process that serves the artefact, split into what it went for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiku.core.instrument import Instrument, Reading, Workbench
from tiku.core.measured import Measured
from tiku.core.metric import Metric
from tiku.core.text import Text
from tiku.core.verdict import Comparison, Support
from tiku.measure.clock_statistics import Ratio, compare
from tiku.measure.instruments._generation import prose_of
from tiku.measure.instruments._predicted import predicted
from tiku.measure.instruments._requests import LANGUAGE_TASK, classified, longest_and_typical, requests_of
from tiku.measure.memory import MemoryUse, probe

__all__ = ["INSTRUMENT", "PeakMemory"]

_METRIC = Metric(
    "peak_memory", "byte", "lower", Text("Peak memory", "内存峰值"),
    scale="ratio", margin=0.03, aliases=("memory",),
)  # fmt: skip
_LEAST_ITEMS = 16
_BASE_REPEATS = 3  # the base's spread tells how far a single probe of a candidate can be trusted
_AT_ONCE = 2
_CHARACTERS_PER_TOKEN = 8

FloatArray = NDArray[np.float64]


class PeakMemory(Instrument):
    """Two batches, the longest requests of the data among them, for they decide the peak; a language
    model continues one prompt of the protocol's context. Other work on the machine does not disturb
    the figure, so probes run side by side.
    """

    name = "peak_memory"
    metrics = (_METRIC,)
    cost_rank = 60

    def supports(self, bench: Workbench) -> Support:
        """Whether there is something to serve."""
        if bench.candidate.task == LANGUAGE_TASK or classified(bench) is not None:
            return Support.yes()
        return Support.no("there is no data to serve", "没有可供推理的数据")

    def measure(self, bench: Workbench) -> Reading:
        """Probe. Raises `CannotMeasure` with the probe's own words."""
        repeats = bench.protocol.fresh_processes
        base_peaks = bench.base_arrays.get("peaks")
        if bench.base is None:
            repeats = max(repeats, _BASE_REPEATS)
        elif base_peaks is None:
            base_peaks = _peaks(_probe_all(bench, bench.base.folder, max(repeats, _BASE_REPEATS)))
        found = _probe_all(bench, bench.candidate.folder, repeats)
        peaks = _peaks(found)
        value, ratio = _summarise(peaks, base_peaks)
        against: dict[str, Comparison] = {}
        if base_peaks is not None and ratio is not None:
            against = {"peak_memory": compare(_METRIC, _centre(base_peaks), value.value, ratio)}
        median = sorted(found, key=lambda use: use.peak)[len(found) // 2]
        details = {
            "split": asdict(median),
            "peaks": [use.peak for use in found],
            "predicted": predicted(bench, _inputs(bench), median),
        }
        return Reading({"peak_memory": value}, against, details, {"peaks": peaks})


def _probe_all(bench: Workbench, artefact: Path, repeats: int) -> list[MemoryUse]:
    inputs, plan = _inputs(bench), bench.protocol

    def once(done: int) -> MemoryUse:
        bench.progress(done, repeats, "memory of a fresh process")
        return probe(
            artefact,
            inputs,
            context=plan.context,
            decode_tokens=plan.decode_tokens,
            threads=plan.threads,
            device=plan.device,
        )

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(once, range(repeats)))


def _inputs(bench: Workbench) -> Sequence[Any]:
    plan = bench.protocol
    if bench.candidate.task == LANGUAGE_TASK:
        return [prose_of(bench)[: plan.context * _CHARACTERS_PER_TOKEN]]
    items = max(_LEAST_ITEMS, 2 * bench.candidate.serve.batch_size)
    return longest_and_typical(requests_of(bench), items, plan.seed)


def _peaks(found: Sequence[MemoryUse]) -> FloatArray:
    return np.array([use.peak for use in found], dtype=np.float64)


def _centre(peaks: FloatArray) -> float:
    return math.exp(float(np.log(peaks).mean()))


def _summarise(peaks: FloatArray, base_peaks: FloatArray | None) -> tuple[Measured, Ratio | None]:
    """The mean peak and its ratio to the base, by Student's t of the logarithms.

    Both share one spread, pooled over base and candidate: a single probe of the candidate borrows
    the base's. Without two probes of anything there is no interval.
    """
    from scipy.special import stdtrit

    groups = [np.log(peaks)] + ([] if base_peaks is None else [np.log(base_peaks)])
    degrees = sum(group.size - 1 for group in groups)
    value, n = _centre(peaks), peaks.size
    if degrees == 0:
        return Measured(value, None, None, n, "byte", "measured", "VmHWM of one fresh process"), None
    spread = math.sqrt(sum(float(((g - g.mean()) ** 2).sum()) for g in groups) / degrees)
    t = float(stdtrit(degrees, 0.975))
    half = t * spread / math.sqrt(n)
    name = "VmHWM of fresh processes, t of the logarithms, pooled spread"
    measured = Measured(value, value * math.exp(-half), value * math.exp(half), n, "byte", "measured", name)
    if base_peaks is None:
        return measured, None
    error = spread * math.sqrt(1 / n + 1 / base_peaks.size)
    ratio = value / _centre(base_peaks)
    half = t * error
    return measured, Ratio(ratio, ratio * math.exp(-half), ratio * math.exp(half), error, "t, pooled spread")


INSTRUMENT = PeakMemory()
