"""What the memory answer says beside its numbers: predictions, and the arena of a runtime."""

from dataclasses import replace

from tests.questions.evidence import evidence, trial
from tiku.core import registry
from tiku.core.method import Situation
from tiku.core.recipe import Recipe
from tiku.methods.compile.onnxruntime import OnnxRuntimeMethod
from tiku.questions._foretold import foretold
from tiku.questions._pools import arenas_gave


def _with_arena(arena, **found):
    made = trial(f"arena-{arena}", "onnxruntime", **found)
    return replace(made, recipe=Recipe.of(OnnxRuntimeMethod(arena=arena)))


def _peaks(predicted, measured):
    return {"peak_memory": {"predicted": {"peak": predicted}, "split": {"peak": measured}}}


def test_arena_is_told_as_memory_and_speed_of_both_trials():
    on = _with_arena(True, peak_memory=(1.2, 0.03), throughput=(1.8, 0.03))
    off = _with_arena(False, peak_memory=(1.0, 0.04), throughput=(1.5, 0.04))
    told, others = arenas_gave(evidence(on, off))
    # 1.2 / 1.0, and 1.8 / 1.5: both 1.2; half-widths 0.03 and 0.04 of the logarithms make 0.05
    for text in (told.en, told.zh):
        assert text.count("×1.20 [1.14, 1.26]") == 2
    assert "torch" in others.en and "OpenVINO" in others.zh


def test_arena_measured_one_way_says_nothing():
    assert arenas_gave(evidence(_with_arena(False, peak_memory=(1.0, 0.04)))) == ()


def test_runtime_without_its_arena_is_proposed_beside_the_one_with_it():
    situation = Situation("text-classification", "text-classification", "cpu", 1_000)
    proposed = registry.get("questions", "memory").propose(situation)
    configs = [s.config for p in proposed for s in p.recipe.steps if p.recipe.names() == ("onnxruntime",)]
    assert sorted(config["arena"] for config in configs) == [False, True]
    assert list(proposed) == sorted(proposed, key=lambda p: -p.priority)


def test_prediction_stands_beside_the_measured_peak_of_the_base():
    one = evidence()
    base = replace(one.base, details=_peaks(400e6, 440e6))
    (told,) = foretold(replace(one, base=base))
    for text in (told.en, told.zh):
        assert "400" in text and "440" in text and "×1.10" in text


def test_recipe_is_named_where_its_prediction_was_far_off():
    far = trial("slow-loader", details=_peaks(400e6, 600e6))
    near = trial("as-told", details=_peaks(400e6, 420e6))
    (told,) = foretold(evidence(far, near))
    assert "slow-loader" in told.en and "×1.50" in told.zh
    assert foretold(evidence(near)) == ()
