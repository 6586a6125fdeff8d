"""Generation speed of language models: first token, per token, prompt and output rates, energy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiku.core.instrument import Instrument, Reading, Workbench
from tiku.core.measured import Measured
from tiku.core.metric import Direction, Metric
from tiku.core.subject import Predictor
from tiku.core.text import Text
from tiku.core.verdict import Comparison, Support
from tiku.measure.clock import Schedule, time_pairs
from tiku.measure.clock_statistics import compare, geometric_mean, geometric_ratio
from tiku.measure.instruments._energy import energy_reading, source_for
from tiku.measure.instruments._generation import Generator, Prompt, draw_prompts, prose_of
from tiku.measure.instruments._requests import LANGUAGE_TASK

__all__ = ["INSTRUMENT", "Generation"]

_TASKS = frozenset({LANGUAGE_TASK})


def _metric(name: str, unit: str, direction: Direction, en: str, zh: str, *aliases: str) -> Metric:
    return Metric(name, unit, direction, Text(en, zh), _TASKS, "ratio", 0.05, aliases)


_ENERGY = _metric(
    "energy_per_token", "J", "lower", "Energy per generated token", "每生成一个词元的能耗", "energy"
)


class Generation(Instrument):
    """Batch 1, greedy. Prompts of 128 tokens from the data; then the text itself is fed token by
    token, so base and candidate do the same work. The key/value cache starts empty each time.
    """

    name = "generation"
    metrics = (
        _metric("time_to_first_token", "s", "lower", "Time to first token", "首词元延迟", "ttft", "latency"),
        _metric("time_per_token", "s", "lower", "Time per output token", "每词元生成时间", "tpot"),
        _metric(
            "prefill_throughput", "1/s", "higher", "Prompt tokens per second", "提示词处理速度（词元/秒）"
        ),
        _metric(
            "tokens_per_second", "1/s", "higher", "Generated tokens per second, prompt included",
            "生成速度（词元/秒，含提示处理）", "throughput_tokens",
        ),
        _ENERGY,
    )  # fmt: skip
    cost_rank = 40

    def supports(self, bench: Workbench) -> Support:
        """Language models."""
        if bench.candidate.task != LANGUAGE_TASK:
            return Support.no("only language models generate", "只有语言模型会生成文本")
        return Support.yes()

    def measure(self, bench: Workbench) -> Reading:
        """Generate. Raises `TooNoisy`, and `CannotMeasure` for a runtime that keeps no cache."""
        plan = bench.protocol
        prompts = draw_prompts(
            bench.candidate,
            prose_of(bench),
            max(3, plan.throughput_pairs),
            max(2, plan.decode_tokens),
            plan.seed,
        )
        ours = _warm(bench.candidate, prompts)
        theirs = None if bench.base is None else _warm(bench.base, prompts)
        source, warnings = source_for(bench.candidate, bench.base)
        schedule = Schedule(len(prompts), plan.seed, plan.max_aa, control_every=0)
        times = time_pairs(ours, theirs, schedule, gauge=source, progress=bench.progress)
        metrics = {name: geometric_mean(v, _unit(name)) for name, v in _values(ours).items()}
        energy = Reading({})
        if source is not None:
            energy = energy_reading(_ENERGY, times, 1 / prompts[0].decode_tokens, source)
        return Reading(
            {**metrics, **energy.metrics},
            {**_against(metrics, ours, theirs), **energy.against_base},
            _details(prompts[0], ours, theirs, times.aa, None if source is None else source.note()),
            warnings=(*warnings, *energy.warnings),
        )


def _unit(name: str) -> str:
    return next(m.unit for m in Generation.metrics if m.name == name)


def _warm(model: Predictor, prompts: list[Prompt]) -> Generator:
    """One generation of the full length: it meets every shape that will be timed."""
    generator = Generator(model, prompts)
    generator(0)
    return generator


def _values(run: Generator) -> dict[str, NDArray[np.float64]]:
    prompt, first, step = run.prompts[0], run.first(), run.per_token()
    whole = first + np.array([run.steps_s[i].sum() for i in range(len(run.prompts))])
    return {
        "time_to_first_token": first,
        "time_per_token": step,
        "prefill_throughput": prompt.prompt_tokens / first,
        "tokens_per_second": prompt.decode_tokens / whole,
    }


def _against(
    metrics: dict[str, Measured], ours: Generator, theirs: Generator | None
) -> dict[str, Comparison]:
    if theirs is None:
        return {}
    candidate, base = _values(ours), _values(theirs)
    return {
        metric.name: compare(
            metric,
            geometric_mean(base[metric.name], metric.unit).value,
            metrics[metric.name].value,
            geometric_ratio(base[metric.name], candidate[metric.name]),
        )
        for metric in Generation.metrics
        if metric.name in candidate
    }


def _details(
    prompt: Prompt, ours: Generator, theirs: Generator | None, aa: float, note: Text | None
) -> dict[str, Any]:
    return {
        "batch_size": 1,
        "prompts": len(ours.prompts),
        "prompt_tokens": prompt.prompt_tokens,
        "decode_tokens": prompt.decode_tokens,
        "step_seconds": [ours.steps_s[i].tolist() for i in range(len(ours.prompts))],
        "base_step_seconds": theirs and [theirs.steps_s[i].tolist() for i in range(len(theirs.prompts))],
        "aa_deviation": aa,
        "energy_note": None if note is None else {"en": note.en, "zh": note.zh},
    }


INSTRUMENT = Generation()
