"""How long one forward pass takes for few and for many tokens: where memory and where arithmetic decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiku.core.errors import CannotMeasure
from tiku.core.instrument import Instrument, Reading, Workbench
from tiku.core.measured import Measured
from tiku.core.metric import Metric
from tiku.core.subject import Predictor
from tiku.core.text import Text
from tiku.core.verdict import Comparison, Support
from tiku.measure.clock import Schedule, time_pairs
from tiku.measure.clock_statistics import compare, geometric_mean, geometric_ratio
from tiku.measure.instruments._generation import prose_of
from tiku.measure.instruments._requests import LANGUAGE_TASK, classified
from tiku.measure.machine import allowed_cores
from tiku.measure.roofline import roofline

__all__ = ["INSTRUMENT", "Scaling"]

_TASKS = frozenset({"text-classification", LANGUAGE_TASK})
_SIZES = {"text-classification": (4, 16, 64, 256), LANGUAGE_TASK: (1, 4, 16, 64, 256)}
_LONGEST = 256
_TURNS = 5
_PIECE = 512  # characters of running text encoded at a time

FloatArray = NDArray[np.float64]


def _metric(name: str, en: str, zh: str) -> Metric:
    return Metric(name, "s", "lower", Text(en, zh), _TASKS, "ratio", 0.05)


class Scaling(Instrument):
    """One row of text cut to 1, 4, 16, 64 and 256 tokens (from 4 for classifiers), without a cache.

    Base and candidate take turns at each length. The pass over few tokens costs the reading of the
    weights and what a call costs anyhow; the pass over many costs arithmetic. Where the first equals the
    arithmetic of so many tokens lies the turning point. With the base the machine's roofline is measured.
    """

    name = "scaling"
    metrics = (
        _metric("small_pass", "Forward pass over few tokens", "少量词元的一次前向计算"),
        _metric("large_pass", "Forward pass over many tokens", "大量词元的一次前向计算"),
    )
    cost_rank = 25

    def supports(self, bench: Workbench) -> Support:
        """Models that read tokens."""
        if bench.candidate.task not in _TASKS:
            return Support.no("this model does not read tokens", "该模型不以词元为输入")
        return Support.yes()

    def measure(self, bench: Workbench) -> Reading:
        """Time them. Raises `TooNoisy`, and `CannotMeasure` where model or data hold too few tokens."""
        sizes = _sizes(bench.candidate)
        row = _row(bench, sizes[-1])
        ours, theirs, aa = _time(bench, [{n: a[:, :size].copy() for n, a in row.items()} for size in sizes])
        ends = {"small_pass": 0, "large_pass": len(sizes) - 1}
        metrics = {name: _mean(ours[:, at], sizes[at]) for name, at in ends.items()}
        against: dict[str, Comparison] = {}
        if theirs is not None:
            for metric in self.metrics:
                at = ends[metric.name]
                base, ratio = _mean(theirs[:, at], sizes[at]), geometric_ratio(theirs[:, at], ours[:, at])
                against[metric.name] = compare(metric, base.value, metrics[metric.name].value, ratio)
        details = {**_curve(sizes, ours, theirs), "aa_deviation": aa}
        if theirs is None:
            details["roofline"] = roofline(bench.protocol.threads or allowed_cores()).to_json()
        return Reading(metrics, against, details)


def _sizes(model: Predictor) -> tuple[int, ...]:
    """The lengths the model can read. Raises `CannotMeasure` when there are fewer than two."""
    limits = (getattr(model.processor, "model_max_length", None), model.serve.max_length)
    limit = min(int(n) for n in (*limits, _LONGEST) if n)
    found = tuple(size for size in _SIZES[model.task] if size <= limit)
    if len(found) < 2:
        raise CannotMeasure(
            "the model reads too few tokens at once to compare short and long passes",
            got=f"{limit} tokens",
            allowed=f"{_SIZES[model.task][1]} tokens or more",
            next_step="read the latencies instead",
        )
    return found


def _row(bench: Workbench, tokens: int) -> dict[str, NDArray[np.int64]]:
    """One row of `tokens` tokens from the data's own texts, as arrays (1, T). Raises `CannotMeasure`."""
    joined: dict[str, list[int]] = {}
    have = 0
    for piece in _pieces(bench):
        for name, values in bench.candidate.encode([piece])[0].items():
            joined.setdefault(name, []).extend(values)
        have = min(map(len, joined.values()))
        if have >= tokens:
            return {name: np.asarray([v[:tokens]], dtype=np.int64) for name, v in joined.items()}
    raise CannotMeasure(
        "there is too little text to time passes of several lengths",
        got=f"{have} tokens",
        allowed=f"{tokens} tokens or more",
        next_step="give more text",
    )


def _pieces(bench: Workbench) -> Iterator[Any]:
    labelled = classified(bench)
    if labelled is not None:
        yield from labelled.inputs()
        return
    prose = prose_of(bench)
    yield from (prose[at : at + _PIECE] for at in range(0, len(prose), _PIECE))


def _time(bench: Workbench, passes: list[dict[str, Any]]) -> tuple[FloatArray, FloatArray | None, float]:
    """Seconds (turns, lengths) of candidate and base, and the deviation of the A/A control."""

    def runner(model: Predictor) -> Callable[[int], object]:
        for inputs in passes:
            model.session.run(inputs)
        return lambda i: model.session.run(passes[i % len(passes)])

    ours, theirs = runner(bench.candidate), None if bench.base is None else runner(bench.base)
    plan = bench.protocol
    schedule = Schedule(_TURNS * len(passes), plan.seed, plan.max_aa, refresh=True)
    times = time_pairs(ours, theirs, schedule, progress=bench.progress)
    shape = (_TURNS, len(passes))
    base = None if times.base_s is None else times.base_s.reshape(shape)
    return times.candidate_s.reshape(shape), base, times.aa


def _mean(seconds: FloatArray, tokens: int) -> Measured:
    found = geometric_mean(seconds, "s")
    return replace(found, estimator=f"{found.estimator}; {tokens} tokens")


def _curve(sizes: tuple[int, ...], ours: FloatArray, theirs: FloatArray | None) -> dict[str, Any]:
    middle = np.median(ours, axis=0)
    return {
        "tokens": list(sizes),
        "seconds": middle.tolist(),
        "base_seconds": None if theirs is None else np.median(theirs, axis=0).tolist(),
        "turning_point": float(middle[0] * sizes[-1] / middle[-1]),
        "turns": _TURNS,
    }


INSTRUMENT = Scaling()
