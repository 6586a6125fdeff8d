"""Items per second and joules per 1,000 predictions, from one interleaved loop over the same items."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiku.core.instrument import Instrument, Reading, Workbench
from tiku.core.measured import Measured
from tiku.core.metric import Metric
from tiku.core.subject import Predictor
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.measure.clock import PairedTimes, Schedule, time_pairs, warm_up
from tiku.measure.clock_statistics import compare, geometric_mean, geometric_ratio
from tiku.measure.energy import EnergySource
from tiku.measure.instruments._energy import energy_reading, source_for
from tiku.measure.instruments._requests import requests_of, supports_requests, typical_requests

__all__ = ["INSTRUMENT", "ThroughputAndEnergy"]

_TASKS = frozenset({"text-classification", "image-classification", "tabular-classification"})
_ROUND_SECONDS = 4.0  # longer rounds are cut, so that slow models do not eat the budget
_FEWEST_ITEMS = 16
_THROUGHPUT = Metric(
    "throughput", "1/s", "higher", Text("Throughput", "吞吐量"), _TASKS, "ratio", 0.05, ("items_per_second",)
)
_ENERGY = Metric(
    "energy_per_1000", "J", "lower", Text("Energy per 1,000 predictions", "每千次预测能耗"),
    _TASKS, "ratio", 0.05, ("energy",),
)  # fmt: skip


class ThroughputAndEnergy(Instrument):
    """Rounds over the same requests (lengths spread as in the data), each model with its own serve
    settings, tokenisation included. Energy is read around the same rounds, so the two describe the
    same work.
    """

    name = "throughput_and_energy"
    metrics = (_THROUGHPUT, _ENERGY)
    cost_rank = 40

    def supports(self, bench: Workbench) -> Support:
        """Models that map one input to one output."""
        return supports_requests(bench)

    def measure(self, bench: Workbench) -> Reading:
        """Time the rounds. Raises `TooNoisy`; energy alone failing leaves the throughput standing."""
        source, warnings = source_for(bench.candidate, bench.base)
        requests = _requests(bench)
        times = _time(bench, requests, source)
        rate = _rate(times.candidate_s, len(requests))
        metrics, against = {"throughput": rate}, {}
        if times.base_s is not None:
            ratio = geometric_ratio(times.base_s, times.candidate_s).inverted()
            base = _rate(times.base_s, len(requests)).value
            against["throughput"] = compare(_THROUGHPUT, base, rate.value, ratio)
        energy = Reading({})
        if source is not None:
            energy = energy_reading(_ENERGY, times, 1000 / len(requests), source)
        return Reading(
            {**metrics, **energy.metrics},
            {**against, **energy.against_base},
            _details(bench, times, len(requests), source),
            warnings=(*warnings, *energy.warnings),
        )


def _requests(bench: Workbench) -> list[Any]:
    """The requests of a round: as many as the protocol says, fewer where a round would take too long."""
    plan, inputs = bench.protocol, requests_of(bench)
    requests = typical_requests(inputs, plan.throughput_items, plan.seed)
    models = (bench.candidate,) if bench.base is None else (bench.candidate, bench.base)
    slowest = max(_seconds_per_item(model, requests) for model in models)
    fits = max(_FEWEST_ITEMS, int(_ROUND_SECONDS / slowest))
    if fits < len(requests):
        requests = typical_requests(inputs, fits, plan.seed)
    for model in models:  # once in full: a compiling runtime meets every shape before the clock runs
        model.predict(requests)
    return requests


def _seconds_per_item(model: Predictor, requests: list[Any]) -> float:
    few = requests[:_FEWEST_ITEMS]
    return warm_up(lambda: model.predict(few), most=4) / len(few)


def _time(bench: Workbench, requests: list[Any], source: EnergySource | None) -> PairedTimes:
    plan, candidate, base = bench.protocol, bench.candidate, bench.base
    return time_pairs(
        lambda i: candidate.predict(requests),
        None if base is None else lambda i: base.predict(requests),
        Schedule(max(3, plan.throughput_pairs), plan.seed, plan.max_aa, control_every=0),
        gauge=source,
        progress=bench.progress,
    )


def _rate(seconds: NDArray[np.float64], items: int) -> Measured:
    return geometric_mean(items / seconds, "1/s")


def _details(bench: Workbench, times: PairedTimes, items: int, source: EnergySource | None) -> dict[str, Any]:
    note = None if source is None else source.note()
    return {
        "items_per_round": items,
        "seconds": times.candidate_s.tolist(),
        "base_seconds": None if times.base_s is None else times.base_s.tolist(),
        "joules": None if times.candidate_used is None else times.candidate_used[:, 0].tolist(),
        "base_joules": None if times.base_used is None else times.base_used[:, 0].tolist(),
        "aa_deviation": times.aa,
        "serve": {"batch_size": bench.candidate.serve.batch_size,
                  "token_budget": bench.candidate.serve.token_budget,
                  "sort_by_length": bench.candidate.serve.sort_by_length,
                  "threads": bench.candidate.serve.threads},
        "energy_source": None if source is None else source.name,
        "energy_note": None if note is None else {"en": note.en, "zh": note.zh},
    }  # fmt: skip


INSTRUMENT = ThroughputAndEnergy()
