"""How fast an artefact answers requests with its own text: what a drafter or a shared batch gains."""

from __future__ import annotations

from typing import Any

import numpy as np

from tiku.core.instrument import Instrument, Reading, Workbench
from tiku.core.metric import Metric
from tiku.core.subject import Serve
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.measure.clock import PairedTimes, Schedule, time_pairs
from tiku.measure.clock_statistics import compare, geometric_mean, geometric_ratio
from tiku.measure.instruments._completion import Completer, agreement, costs, draw_rounds
from tiku.measure.instruments._energy import energy_reading, source_for
from tiku.measure.instruments._requests import LANGUAGE_TASK

__all__ = ["INSTRUMENT", "Generate"]

_TASKS = frozenset({LANGUAGE_TASK})
_ROUNDS = 3  # the first turn has the control

_RATE = Metric(
    "generated_tokens_per_second", "1/s", "higher",
    Text("Tokens per second of generate", "实际生成速度（词元/秒）"), _TASKS, "ratio", 0.05,
)  # fmt: skip
_ENERGY = Metric(
    "energy_per_generated_token", "J", "lower",
    Text("Energy per token of generate", "实际生成每词元能耗"), _TASKS, "ratio", 0.05,
)  # fmt: skip


class Generate(Instrument):
    """Rounds of eight requests, greedy, through the artefact's own `generate`: prompts of up to 64 tokens
    from the data, from `decode_tokens` (64 at most) down to a quarter of it new tokens each; the prompts
    are in the time.

    Unlike `generation`, which feeds a given text so that every model does equal work step by step, the
    model reads its own text here, so that drafts and batches show. Outputs are compared with the base's.
    """

    name = "generate"
    metrics = (_RATE, _ENERGY)
    cost_rank = 45

    def supports(self, bench: Workbench) -> Support:
        """Language models that decode in a way of their own, and every one where the protocol asks."""
        if bench.candidate.task != LANGUAGE_TASK:
            return Support.no("only language models generate", "只有语言模型会生成文本")
        if bench.protocol.own_text or not _plain(bench.candidate.serve):
            return Support.yes()
        return Support.no(
            "token by token, as this recipe decodes, is timed by the instrument generation",
            "该方案逐词元解码，由 generation 测量计时",
        )

    def measure(self, bench: Workbench) -> Reading:
        """Generate. Raises `TooNoisy`, and `CannotMeasure` for a runtime that cannot decode so."""
        plan = bench.protocol
        rounds = draw_rounds(bench, _ROUNDS)
        ours = _warm(Completer(bench.candidate, rounds))
        theirs = None if bench.base is None else _warm(Completer(bench.base, rounds))
        source, warnings = source_for(bench.candidate, bench.base)
        schedule = Schedule(_ROUNDS, plan.seed, plan.max_aa, control_every=_ROUNDS)
        times = time_pairs(ours, theirs, schedule, gauge=source, progress=bench.progress)
        tokens = rounds[0].tokens
        energy = Reading({})
        if source is not None:
            energy = energy_reading(_ENERGY, times, 1 / tokens, source)
        speed = _speed(times, tokens)
        return Reading(
            {**speed.metrics, **energy.metrics},
            {**speed.against_base, **energy.against_base},
            {
                **_details(ours, theirs, times),
                "energy_note": None if source is None else {"en": source.note().en, "zh": source.note().zh},
            },
            warnings=(*warnings, *energy.warnings),
        )


def _plain(serve: Serve) -> bool:
    return serve.speculation is None and serve.slots == 1 and not serve.memory


def _warm(run: Completer) -> Completer:
    """A token for each prompt of the first round, before the clock."""
    run.model.complete(run.rounds[0].prompts, 1, past_end=True)
    return run


def _speed(times: PairedTimes, tokens: int) -> Reading:
    rate = geometric_mean(tokens / times.candidate_s, _RATE.unit)
    if times.base_s is None:
        return Reading({_RATE.name: rate})
    base = geometric_mean(tokens / times.base_s, _RATE.unit)
    ratio = geometric_ratio(times.candidate_s, times.base_s)  # of rates: the base's time is on top
    return Reading({_RATE.name: rate}, {_RATE.name: compare(_RATE, base.value, rate.value, ratio)})


def _details(ours: Completer, theirs: Completer | None, times: PairedTimes) -> dict[str, Any]:
    made = ours.all()
    found = {
        "rounds": len(ours.rounds),
        "limits": list(ours.rounds[0].limits),
        "prompt_tokens": int(
            np.max([len(e["input_ids"]) for e in ours.model.encode(ours.rounds[0].prompts)])
        ),
        "seconds": times.candidate_s.tolist(),
        "base_seconds": None if times.base_s is None else times.base_s.tolist(),
        "aa_deviation": times.aa,
        "cache": dict(ours.model.cache_report),
        **costs(made),
    }
    if theirs is None:
        return {**found, "same_output": None, "same_share": None}
    base = theirs.all()
    return {**found, "base_costs": costs(base), **agreement(made, base)}


INSTRUMENT = Generate()
