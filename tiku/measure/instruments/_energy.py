"""Joules of repeated equal work as a measurement, and the ratio of two."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tiku.core.errors import CannotMeasure
from tiku.core.instrument import Reading
from tiku.core.measured import Measured
from tiku.core.metric import Metric
from tiku.core.subject import Predictor
from tiku.core.text import Text
from tiku.measure.clock import PairedTimes
from tiku.measure.clock_statistics import Ratio, compare, geometric_mean, geometric_ratio
from tiku.measure.energy import EnergySource, energy_source

__all__ = ["energy_measured", "energy_ratio", "energy_reading", "source_for"]

FloatArray = NDArray[np.float64]


def source_for(
    model: Predictor, base: Predictor | None = None
) -> tuple[EnergySource | None, tuple[Text, ...]]:
    """The energy source of the device a model and its base run on, or the reason why there is none."""
    try:
        return energy_source(getattr(model.session, "device", "cpu"), clock=_cpu_clock(model, base)), ()
    except CannotMeasure as error:
        return None, (_not_measured(error),)


def _cpu_clock(*models: Predictor | None) -> Callable[[], float]:
    """CPU seconds of this process and of those that hold models for it."""
    pids = [pid for m in models if m is not None and (pid := getattr(m.session, "pid", None)) is not None]
    if not pids:
        return time.process_time
    import psutil

    holders = [psutil.Process(pid) for pid in pids]

    def seconds() -> float:
        times = [holder.cpu_times() for holder in holders]
        held: float = sum(each.user + each.system for each in times)
        return time.process_time() + held

    return seconds


def energy_reading(metric: Metric, times: PairedTimes, factor: float, source: EnergySource) -> Reading:
    """Joules per piece of work times `factor`, as one metric; a warning where they cannot be told."""
    try:
        return _reading(metric, times, factor, source)
    except CannotMeasure as error:
        return Reading({}, warnings=(_not_measured(error),))


def _reading(metric: Metric, times: PairedTimes, factor: float, source: EnergySource) -> Reading:
    if times.candidate_used is None:
        raise ValueError("the loop ran without an energy gauge")
    value = energy_measured(times.candidate_used * factor, source)
    if times.base_used is None:
        return Reading({metric.name: value})
    base = energy_measured(times.base_used * factor, source).value
    ratio = energy_ratio(times.base_used, times.candidate_used)
    return Reading({metric.name: value}, {metric.name: compare(metric, base, value.value, ratio)})


def _not_measured(error: CannotMeasure) -> Text:
    why = f"{error.what}: {error.got}"
    return Text(f"energy is not measured: {why}", f"未测能耗：{why}")


def energy_measured(joules: FloatArray, source: EnergySource) -> Measured:
    """Joules (n, 3) of equal pieces of work: value, low, high of each.

    The interval joins the spread between the pieces with what the source assumes. Raises
    `CannotMeasure` when the work drew no more than idle.
    """
    _refuse_idle(joules)
    value = geometric_mean(joules[:, 0], "J", how=source.how)
    if source.how == "counter" or value.low is None or value.high is None:
        return replace(value, estimator=f"{source.name}, {value.estimator}")
    low, high = geometric_mean(joules[:, 1], "J").low, geometric_mean(joules[:, 2], "J").high
    return replace(value, low=low, high=high, estimator=f"{source.name}, assumed watts as the interval")


def energy_ratio(base: FloatArray, candidate: FloatArray) -> Ratio:
    """candidate / base, paired; one assumption on both sides cancels. Shapes (n, 3)."""
    _refuse_idle(base)
    _refuse_idle(candidate)
    return geometric_ratio(base[:, 0], candidate[:, 0])


def _refuse_idle(joules: FloatArray) -> None:
    if not (joules > 0).all():
        raise CannotMeasure(
            "the work drew no more power than the idle machine, so its energy cannot be told",
            got=f"{joules.min():.3g} J in a round",
            next_step="measure more items per round, or stop other work on this machine",
        )
