"""Latency of single requests: p50, p95, p99 at batch 1, tokenisation included."""

from __future__ import annotations

from typing import Any

import numpy as np

from tiku.core.instrument import Instrument, Reading, Workbench
from tiku.core.measured import Measured
from tiku.core.metric import Metric
from tiku.core.text import Text
from tiku.core.verdict import Comparison, Support
from tiku.measure.clock import PairedTimes, Schedule, time_pairs, warm_up
from tiku.measure.clock_statistics import compare, quantile_ratio
from tiku.measure.instruments._requests import random_requests, requests_of, supports_requests

__all__ = ["INSTRUMENT", "Latency"]

_TASKS = frozenset({"text-classification", "image-classification", "tabular-classification"})
_SHARES = {"p50_latency": 0.5, "p95_latency": 0.95, "p99_latency": 0.99}
_BLOCK = 6  # requests in a row to one model; a turn lasts some tenths of a second


def _metric(name: str, en: str, zh: str, *aliases: str) -> Metric:
    return Metric(name, "s", "lower", Text(en, zh), _TASKS, "ratio", 0.05, aliases)


class Latency(Instrument):
    """Requests drawn from the data, one at a time; base and candidate answer the same ones in turn.

    An untimed request follows each change of model, so that neither pays for the caches the other
    filled. At least as many requests are timed as an interval for p95 needs (72).
    """

    name = "latency"
    metrics = (
        _metric("p50_latency", "Latency, median", "延迟中位数（p50）", "latency"),
        _metric("p95_latency", "Latency, 95th percentile", "延迟第 95 百分位（p95）"),
        _metric("p99_latency", "Latency, 99th percentile", "延迟第 99 百分位（p99）"),
    )
    cost_rank = 30

    def supports(self, bench: Workbench) -> Support:
        """Models that map one input to one output."""
        return supports_requests(bench)

    def measure(self, bench: Workbench) -> Reading:
        """Time them. Raises `TooNoisy`."""
        from tiku.measure.stats.quantiles import items_for_quantile, quantile_interval

        plan = bench.protocol
        count = max(plan.latency_pairs, items_for_quantile(0.95))
        requests = random_requests(requests_of(bench), count, plan.seed)
        times = _time(bench, requests)
        metrics = {name: quantile_interval(times.candidate_s, q, unit="s") for name, q in _SHARES.items()}
        against = {
            metric.name: _against(metric, metrics[metric.name], times, bench)
            for metric in self.metrics
            if times.base_s is not None and metrics[metric.name].low is not None
        }
        return Reading(metrics, against, _details(times), warnings=_warnings(metrics))


def _time(bench: Workbench, requests: list[Any]) -> PairedTimes:
    plan, candidate, base = bench.protocol, bench.candidate, bench.base
    for model in (candidate, base):
        if model is not None:
            warm_up(lambda model=model: model.predict(requests[:1]))  # type: ignore[misc]
    schedule = Schedule(len(requests), plan.seed, plan.max_aa, block=_BLOCK, refresh=True, control_every=2)
    return time_pairs(
        lambda i: candidate.predict(requests[i : i + 1]),
        None if base is None else lambda i: base.predict(requests[i : i + 1]),
        schedule,
        progress=bench.progress,
    )


def _against(metric: Metric, value: Measured, times: PairedTimes, bench: Workbench) -> Comparison:
    assert times.base_s is not None
    q, plan = _SHARES[metric.name], bench.protocol
    ratio = quantile_ratio(times.base_s, times.candidate_s, q, replicates=plan.bootstrap, seed=plan.seed)
    return compare(metric, float(np.quantile(times.base_s, q)), value.value, ratio)


def _details(times: PairedTimes) -> dict[str, Any]:
    base = None if times.base_s is None else times.base_s.tolist()
    return {
        "seconds": times.candidate_s.tolist(),
        "base_seconds": base,
        "aa_deviation": times.aa,
        "batch_size": 1,
        "includes": "tokenisation, one forward pass",
    }


def _warnings(metrics: dict[str, Measured]) -> tuple[Text, ...]:
    bare = [name for name, m in metrics.items() if m.low is None]
    if not bare:
        return ()
    names, n = ", ".join(bare), metrics[bare[0]].n
    return (
        Text(
            f"{n} requests are too few for an interval of {names}; more come with the thorough budget",
            f"{n} 个请求不足以给出 {names} 的置信区间；thorough 预算会测更多请求",
        ),
    )


INSTRUMENT = Latency()
