"""What the answer says of operator fusion when a runtime was measured with and without it."""

from dataclasses import replace

from tests.questions.evidence import evidence, trial
from tiku.core.recipe import Recipe
from tiku.methods.compile.onnxruntime import OnnxRuntimeMethod
from tiku.questions._fusion import fusion_gave


def _trial(fusion, **found):
    made = trial(f"fusion-{fusion}", "onnxruntime", **found)
    return replace(made, recipe=Recipe.of(OnnxRuntimeMethod(fusion=fusion)))


def test_fusion_is_told_as_the_ratio_of_both_trials():
    fused, apart = _trial(True, throughput=(1.8, 0.03)), _trial(False, throughput=(1.5, 0.04))
    (told,) = fusion_gave(evidence(fused, apart))
    # 1.8 / 1.5 = 1.2; half-widths 0.03 and 0.04 of the logarithms make 0.05: 1.2 e^-0.05 … 1.2 e^0.05
    assert "throughput ×1.20 [1.14, 1.26]" in told.en
    assert "×1.20 [1.14, 1.26]" in told.zh


def test_latency_is_told_where_throughput_was_not_measured():
    fused, apart = _trial(True, p50_latency=(0.5, 0.01)), _trial(False, p50_latency=(0.8, 0.01))
    (told,) = fusion_gave(evidence(fused, apart))
    assert "latency" in told.en and "×0.62" in told.en


def test_one_of_the_two_alone_says_nothing():
    apart = _trial(False, throughput=(1.5, 0.04))
    assert fusion_gave(evidence(apart)) == ()
    failed = replace(_trial(True), status="failed")
    assert fusion_gave(evidence(failed, apart)) == ()
