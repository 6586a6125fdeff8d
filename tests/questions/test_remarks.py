"""What an answer tells of the guards in its builds."""

from dataclasses import replace

from tests.questions.evidence import evidence, trial
from tiku.core.recipe import Recipe
from tiku.methods.compile.onnxruntime import OnnxRuntimeMethod
from tiku.methods.quantize.awq import AWQ
from tiku.methods.quantize.gptq import GPTQ
from tiku.methods.serving.length_bucketing import LengthBucketing
from tiku.questions._remarks import remarks


def _trial(*methods, **facts):
    return replace(trial("made", details={"build": facts}), recipe=Recipe.of(*methods))


def test_gptq_tells_its_error_and_the_layers_its_guards_kept():
    told = {
        "error_relative_to_rounding": 0.204,
        "equal_to_rounding": ["a", "b"],
        "inputs_that_never_fired": {"c": 3},
    }
    (said,) = remarks(evidence(_trial(GPTQ(), quantised={"gptq": told})))
    assert "layer error 0.20 of plain rounding's" in said.en
    assert "layers equal to plain rounding: 2" in said.en and "2 层与直接舍入相同" in said.zh
    assert "layers with inputs that never fired: 1" in said.en and "damping" not in said.en


def test_awq_without_a_scale_says_that_it_is_plain_rounding():
    told = {"error_relative_to_rounding": 1.0, "all_scales_are_one": True}
    (said,) = remarks(evidence(_trial(AWQ(), quantised={"awq": told})))
    assert "this is plain rounding" in said.en and "等同直接舍入" in said.zh


def test_the_larger_of_both_distances_is_told_beside_that_of_a_blind_model():
    near = {"nats": 0.001, "garbage_from": 0.5, "answers": 32}
    far = {"nats": 0.02, "garbage_from": 0.4, "answers": 48}
    made = _trial(OnnxRuntimeMethod(), away_from_before=near, built={"away_from_module": far})
    (said,) = remarks(evidence(made))
    assert "answers moved by 0.02 nats each, a model blind to its input by 0.4" in said.en


def test_kernels_that_were_not_taken_and_operators_that_were_not_fused_are_told():
    some = {"int8_products": {"taken": 30, "asked": 37}, "not_fused": "attention with sinks"}
    (said,) = remarks(evidence(_trial(OnnxRuntimeMethod(), built=some)))
    assert "30 of 37 products run in int8" in said.en and "attention with sinks" in said.zh
    every = {"int8_products": {"taken": 37, "asked": 37}}
    assert remarks(evidence(_trial(OnnxRuntimeMethod(), built=every))) == ()


def test_joins_failures_and_builds_without_a_word_add_nothing():
    facts = {"away_from_before": {"nats": 0.001, "garbage_from": 0.5}}
    joined = _trial(OnnxRuntimeMethod(), GPTQ(), LengthBucketing(), **facts)
    failed = replace(_trial(OnnxRuntimeMethod(), **facts), status="failed")
    assert remarks(evidence(joined, failed, _trial(OnnxRuntimeMethod()))) == ()
    unmeasured = _trial(OnnxRuntimeMethod(), away_from_before={"not_measured": "no texts"})
    assert remarks(evidence(unmeasured)) == ()
