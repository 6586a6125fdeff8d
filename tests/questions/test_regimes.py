"""Where the answer on speed turns with the tokens per pass."""

from __future__ import annotations

from dataclasses import replace

from tests.questions.evidence import evidence, trial
from tiku.questions._regimes import regimes
from tiku.questions.q05_inference import QUESTION

_CURVE = {
    "tokens": [4, 16, 64, 256], "seconds": [0.01, 0.02, 0.05, 0.2], "turning_point": 12.8,
    "roofline": {"bytes_per_second": 2e10, "flops_per_second": 1e11, "ridge_tokens": 10.0, "threads": 2},
}  # fmt: skip


def test_the_turning_point_stands_beside_the_machines_own() -> None:
    found = evidence()
    found = replace(found, base=replace(found.base, details={"scaling": _CURVE}))
    (told,) = regimes(found)
    for part in ("about 13 tokens", "20 GB/s", "100 GFLOP/s", "10 tokens at best"):
        assert part in told.en
    assert told in QUESTION.decide(found).caveats


def test_a_recipe_that_helps_few_tokens_and_hurts_many_is_named() -> None:
    turning = trial("openvino", small_pass=(0.5, 0.05), large_pass=(1.3, 0.05))
    steady = trial("onnxruntime", small_pass=(0.5, 0.05), large_pass=(0.8, 0.05))
    unsure = trial("torch-compile", small_pass=(0.5, 0.05), large_pass=(1.1, 0.3))
    (told,) = regimes(evidence(turning, steady, unsure))
    assert "openvino" in told.en and "×0.50" in told.en and "×1.30" in told.en


def test_nothing_is_told_where_nothing_was_measured() -> None:
    assert regimes(evidence(trial("onnxruntime", throughput=(1.5, 0.1)))) == ()
