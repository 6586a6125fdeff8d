# ruff: noqa: E501 - one row per trial reads as a table
"""A made-up but plausible `Result`: what an exam of a small encoder on movie reviews could have found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tiku.core.measured import Measured
from tiku.core.recipe import Recipe, Step
from tiku.core.result import (
    Answer,
    Confirmation,
    Cost,
    Interaction,
    RequirementOutcome,
    Result,
    Trial,
)
from tiku.core.text import Text
from tiku.core.verdict import Comparison, Verdict

from .details import instrument_details

__all__ = ["build_result", "comparison", "large_result", "measured"]

_HOW = {"accuracy": "Wilson", "f1_macro": "multinomial bootstrap", "auc_roc": "DeLong"}
_UNITS = {
    "accuracy": "1", "f1_macro": "1", "auc_roc": "1", "ece": "1", "log_loss": "1",
    "p50_latency": "s", "p95_latency": "s", "throughput": "1/s", "peak_memory": "byte",
    "artefact_size": "byte", "energy_per_1000": "J", "prediction_flips": "1",
}  # fmt: skip
_RATIO = {"p50_latency", "p95_latency", "throughput", "peak_memory", "artefact_size", "energy_per_1000"}
_SPREAD = {
    "accuracy": 0.017, "f1_macro": 0.018, "auc_roc": 0.011, "ece": 0.008, "log_loss": 0.02,
    "p50_latency": 0.0007, "p95_latency": 0.0016, "throughput": 2.4, "peak_memory": 3e6,
    "artefact_size": 0.0, "energy_per_1000": 0.9, "prediction_flips": 0.006,
}  # fmt: skip
_BASE = {
    "accuracy": 0.8521, "f1_macro": 0.8519, "auc_roc": 0.9287, "ece": 0.0412, "log_loss": 0.351,
    "p50_latency": 0.0241, "p95_latency": 0.0402, "throughput": 126.0, "peak_memory": 471e6,
    "artefact_size": 90.9e6, "energy_per_1000": 61.0,
}  # fmt: skip


def measured(name: str, value: float) -> Measured:
    """One metric with a plausible interval."""
    unit, half = _UNITS[name], _SPREAD[name]
    if half == 0:
        return Measured.exact(value, unit)
    low = max(value - half, 0.0) if unit == "1" else value - half
    how = "modelled" if name == "energy_per_1000" else "measured"
    estimator = _HOW.get(name, "median, order statistics" if unit == "s" else "paired bootstrap")
    return Measured(value, low, value + half, 1586, unit, how, estimator)


def comparison(name: str, base: float, value: float, verdict: Verdict) -> Comparison:
    """Candidate against base with a narrow paired interval."""
    if name in _RATIO:
        ratio = value / base
        return Comparison(
            base,
            value,
            "ratio",
            ratio,
            ratio * 0.96,
            ratio * 1.05,
            verdict,
            0.03,
            "interleaved pairs, bootstrap",
        )
    delta = value - base
    return Comparison(
        base, value, "difference", delta, delta - 0.007, delta + 0.007, verdict, 0.009, "McNemar, exact"
    )


def _verdict(name: str, base: float, value: float) -> Verdict:
    lower_is_better = name in {
        "ece",
        "log_loss",
        "p50_latency",
        "p95_latency",
        "peak_memory",
        "artefact_size",
        "energy_per_1000",
    }
    change = value / base - 1 if name in _RATIO else value - base
    if abs(change) < (0.05 if name in _RATIO else 0.01):
        return "equivalent"
    return "better" if (change < 0) == lower_is_better else "worse"


def trial(id: str, steps: list[tuple[str, dict[str, Any]]], factors: Mapping[str, float]) -> Trial:
    """A finished trial: the base's metrics times `factors` (plus, for proportions)."""
    values = {
        name: base * factors.get(name, 1.0) if name in _RATIO else base + factors.get(name, 0.0)
        for name, base in _BASE.items()
    }
    against = {n: comparison(n, _BASE[n], v, _verdict(n, _BASE[n], v)) for n, v in values.items()}
    if "prediction_flips" in factors:
        values["prediction_flips"] = factors["prediction_flips"]
    return Trial(
        id=id,
        parent="base-0000" if steps else None,
        recipe=Recipe(tuple(Step(method, config) for method, config in steps)),
        status="done",
        metrics={name: measured(name, value) for name, value in values.items()},
        against_base=against if steps else {},
        cost=Cost(41.0 + 3 * len(steps), 1800.0, 912_000_000),
        command=f"tiku apply trials/{id}/recipe.yaml sample:minilm --data sample:movie-reviews --out out/{id}",
    )


def stopped(id: str, steps: list[tuple[str, dict[str, Any]]], status: Any, reason: Text) -> Trial:
    """A trial without numbers."""
    recipe = Recipe(tuple(Step(method, config) for method, config in steps))
    return Trial(
        id=id, parent="base-0000", recipe=recipe, status=status, reason=reason, cost=Cost(3.1, None, 0)
    )


def _trials() -> tuple[Trial, ...]:
    int8 = ("int8-dynamic", {"per_channel": True, "reduce_range": True})
    ort, vino = ("onnxruntime", {"opset": 18}), ("openvino", {"precision": "fp32"})
    buckets, budget = ("length-bucketing", {"batch_size": 32}), ("token-budget", {"tokens": 4096})
    base = replace(trial("base-0000", [], {}), details=instrument_details(), command="")
    return (
        base,
        trial("a1f3c9d2", [ort], {"p50_latency": 0.71, "p95_latency": 0.74, "throughput": 1.27, "energy_per_1000": 0.81, "prediction_flips": 0.0}),
        replace(trial("b27e10aa", [ort, int8], {"accuracy": -0.0063, "f1_macro": -0.0061, "p50_latency": 0.46, "p95_latency": 0.51, "throughput": 1.79, "peak_memory": 0.62, "artefact_size": 0.253, "energy_per_1000": 0.58, "prediction_flips": 0.0174}), details=instrument_details(1.8)),
        trial("c9940e1b", [vino], {"p50_latency": 0.82, "p95_latency": 0.83, "throughput": 1.24, "energy_per_1000": 0.85, "prediction_flips": 0.0}),
        trial("d3b86f70", [buckets], {"throughput": 1.62, "energy_per_1000": 0.66}),
        trial("e50aa7c4", [budget], {"throughput": 1.71, "energy_per_1000": 0.61}),
        trial("f0c1d2e3", [("threads", {"threads": 1})], {"p50_latency": 1.61, "p95_latency": 1.55, "throughput": 0.64, "energy_per_1000": 0.97}),
        replace(trial("7c5a9e11", [ort, int8, budget], {"accuracy": -0.0063, "f1_macro": -0.0061, "ece": 0.004, "p50_latency": 0.45, "p95_latency": 0.50, "throughput": 2.87, "peak_memory": 0.60, "artefact_size": 0.253, "energy_per_1000": 0.37, "prediction_flips": 0.0174}), details=instrument_details(2.2)),
        trial("88d0b4f6", [("int8-dynamic", {"per_channel": False, "reduce_range": False})], {"accuracy": -0.061, "f1_macro": -0.066, "ece": 0.03, "p50_latency": 0.69, "p95_latency": 0.72, "throughput": 1.22, "peak_memory": 0.7, "artefact_size": 0.26, "energy_per_1000": 0.74, "prediction_flips": 0.113}),
        stopped("11aa22bb", [("torch-compile", {"mode": "max-autotune"})], "refused", Text("no C++ compiler is on this machine", "本机没有 C++ 编译器")),
        stopped("33cc44dd", [vino, int8], "failed", Text("the converted model could not be opened: unsupported operator", "转换后的模型无法打开：存在不支持的算子")),
        stopped("55ee66ff", [("onnxruntime", {"opset": 21})], "timeout", Text("no result after 120 s", "120 秒内没有结果")),
        stopped("77aa88bb", [("token-budget", {"tokens": 1048576})], "out of memory", Text("the process passed its limit of 4 GB", "进程超过 4 GB 的内存上限")),
    )  # fmt: skip


def _questions() -> dict[str, Answer]:
    nothing = Text(
        "No method of this question is built into this version yet.", "本版本尚未实现这一问的任何方法。"
    )
    answers = {
        name: Answer("not measured", nothing)
        for name in ("overfitting", "distributed", "sparsity", "training", "robustness", "interpretability")
    }
    answers["evaluation"] = Answer(
        "pass",
        Text(
            "The model labels 85.2 % of unseen reviews correctly (83.4 to 86.8 %). Its probabilities are slightly "
            "over-confident; negative reviews longer than 40 tokens are its weakest slice.",
            "模型对未见过的影评判对 85.2 %（83.4 % 至 86.8 %）。它给出的概率略为过度自信；超过 40 个词元的负面影评是最弱的切片。",
        ),
        recommended="base-0000",
        evidence=("base-0000",),
        caveats=(
            Text(
                "The reviews are single sentences of 1990s film critics.",
                "数据是 1990 年代影评人的单句评论。",
            ),
        ),
        key_metric="accuracy",
    )
    answers["inference"] = Answer(
        "pass",
        Text(
            "Dynamic int8 in onnxruntime answers a single request in 10.8 ms instead of 24.1 ms and changes 1.7 % of "
            "the predictions; with a token budget per batch it serves 2.87 times as many reviews per second.",
            "onnxruntime 的动态 int8 把单条请求从 24.1 毫秒降到 10.8 毫秒，1.7 % 的预测发生变化；再按词元预算组批，每秒处理的影评是基线的 2.87 倍。",
        ),
        recommended="7c5a9e11",
        evidence=("base-0000", "a1f3c9d2", "b27e10aa", "c9940e1b", "d3b86f70", "e50aa7c4", "7c5a9e11", "88d0b4f6", "11aa22bb"),
        caveats=(
            Text("Measured on 2 cores without VNNI; other machines gain more from int8.", "在没有 VNNI 的 2 核机器上测得；其他机器从 int8 获益更多。"),
        ),
        key_metric="p95_latency",
    )  # fmt: skip
    answers["memory"] = Answer(
        "inconclusive",
        Text("Weights are a fifth of the peak; one probe cannot tell the rest apart.", "权重只占峰值的五分之一；一次探测无法区分其余部分。"),
        recommended="b27e10aa",
        evidence=("base-0000", "b27e10aa"),
        key_metric="peak_memory",
    )  # fmt: skip
    answers["energy"] = Answer(
        "informative",
        Text("1,000 predictions cost 22.6 J, modelled from CPU time.", "每 1,000 次预测耗能 22.6 焦，由 CPU 时间建模得出。"),
        recommended="7c5a9e11",
        evidence=("base-0000", "7c5a9e11"),
        key_metric="energy_per_1000",
    )  # fmt: skip
    return answers


def build_result() -> Result:
    """A finished exam that ships."""
    trials = _trials()
    chosen = next(t for t in trials if t.id == "7c5a9e11")
    ran_on_test = {name: replace(m, n=2114) for name, m in chosen.metrics.items()}
    return Result(
        tiku="0.1.0",
        run_id="2026-11-03-9f31c2",
        started="2026-11-03T09:12:04+00:00",
        finished="2026-11-03T09:25:47+00:00",
        environment={
            "cpu": "AMD EPYC 7B13", "cores": 2, "ram_bytes": 8_340_000_000, "gpu": None, "threads": 2,
            "noise": {"aa_ratio": 1.012, "low": 0.97, "high": 1.05}, "energy_source": "modelled from CPU time, 15 W per core",
            "packages": {"torch": "2.13.0", "transformers": "5.23.0", "onnxruntime": "1.32.0", "openvino": "2026.4.0"},
        },
        model={"name": "sample:minilm", "family": "hf-text", "task": "text-classification", "parameters": 22_713_986, "sha256": "ab" * 32},
        data={"name": "sample:movie-reviews", "sha256": "cd" * 32, "splits": {"train": 6340, "calibration": 528, "validation": 1586, "test": 2114}},
        plan={"requirements": ["accuracy >= 0.98 * base", "p95_latency <= 25 ms", "artefact_size <= 30 MB"], "objective": "energy_per_1000", "budget": "standard", "seed": 0, "questions": ["evaluation", "inference", "memory", "energy"]},
        base="base-0000",
        chosen="7c5a9e11",
        decision="ship",
        reasons=(
            Text("All three requirements hold on the untouched test split.", "三项要求在从未动用的测试集上全部成立。"),
            Text("The saved artefact gives the confirmed predictions in a fresh process.", "保存的制品在新进程中给出与确认时相同的预测。"),
        ),
        requirements=(
            RequirementOutcome("accuracy >= 0.98 * base", True, ran_on_test["accuracy"], "test", 0.98 * _BASE["accuracy"]),
            RequirementOutcome("p95_latency <= 25 ms", True, ran_on_test["p95_latency"], "test", 0.025),
            RequirementOutcome("artefact_size <= 30 MB", True, ran_on_test["artefact_size"], "test", 30e6),
        ),
        questions=_questions(),
        trials=trials,
        interactions=(
            Interaction(("onnxruntime + int8-dynamic", "token-budget"), 21.6, Measured(22.57, 21.5, 23.7, 7, "J", "modelled", "interleaved pairs"), "energy_per_1000"),
            Interaction(("onnxruntime + int8-dynamic", "token-budget"), 385.7, Measured(361.6, 348.0, 375.0, 7, "1/s", "measured", "interleaved pairs"), "throughput"),
        ),
        confirmation=Confirmation(
            trial="7c5a9e11",
            metrics=ran_on_test,
            base_metrics={name: replace(m, n=2114) for name, m in trials[0].metrics.items()},
            against_base=chosen.against_base,
            artefact_check={"max_abs_diff": 0.0, "hashes_ok": True},
        ),
        warnings=(
            Text("412 duplicate reviews were dropped before splitting.", "划分之前去掉了 412 条重复影评。"),
            Text("Energy is modelled, not read from a counter.", "能耗由模型估算，并非读自计数器。"),
        ),
    )  # fmt: skip


def large_result(trials: int = 60) -> Result:
    """The same exam with many more trials, each with its own details."""
    result = build_result()
    extra = tuple(
        replace(
            trial(f"x{i:07d}", [("int8-dynamic", {"per_channel": i % 2 == 0}), ("token-budget", {"tokens": 256 * (i + 1)})],
                  {"p50_latency": 0.4 + 0.01 * i, "throughput": 1 + 0.03 * i, "accuracy": -0.02 * abs(math.sin(i)), "artefact_size": 0.2 + 0.015 * i}),
            details=instrument_details(1.1 + i / 40),
        )
        for i in range(trials - len(result.trials))
    )  # fmt: skip
    answers = dict(result.questions)
    answers["inference"] = replace(
        answers["inference"], evidence=(*answers["inference"].evidence, *(t.id for t in extra))
    )
    return replace(result, trials=(*result.trials, *extra), questions=answers)
