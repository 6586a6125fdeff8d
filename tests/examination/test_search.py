"""The search: what is joined, what is chosen, and what the additive model predicts."""

from __future__ import annotations

import math

import pytest

from tiku.core.measured import Measured
from tiku.core.metric import Metric
from tiku.core.recipe import Recipe
from tiku.core.requirement import parse_requirement
from tiku.core.result import Trial
from tiku.core.text import Text
from tiku.core.verdict import Comparison, judge
from tiku.examination.search import choose, interactions, next_recipe

SPEED = Metric("throughput", "1/s", "higher", Text("t", "t"), scale="ratio")
QUALITY = Metric("accuracy", "1", "higher", Text("a", "a"))
METRICS = {m.name: m for m in (SPEED, QUALITY)}
KEEP = parse_requirement("accuracy >= base - 1 pt", METRICS)

BASE = Trial(
    "base", None, Recipe(), "done",
    metrics={"accuracy": Measured(0.8, 0.78, 0.82, 1000, "1", "measured", "Wilson"),
             "throughput": Measured(100.0, 99.0, 101.0, 7, "1/s", "measured", "mean")},
)  # fmt: skip


def trial(name: str, *methods: str, speed: float, quality: float = 0.0, half: float = 0.002) -> Trial:
    """A trial that made the model `speed` times as fast and changed the accuracy by `quality` ± `half`."""
    compared = {
        "throughput": Comparison(100.0, 100 * speed, "ratio", speed, speed * 0.99, speed * 1.01,
                                 judge(SPEED, speed * 0.99, speed * 1.01), 0.02, "pairs"),
        "accuracy": Comparison(0.8, 0.8 + quality, "difference", quality, quality - half, quality + half,
                               judge(QUALITY, quality - half, quality + half), 0.004, "McNemar"),
    }  # fmt: skip
    metrics = {
        "accuracy": Measured(0.8 + quality, 0.7, 0.9, 1000, "1", "measured", "Wilson"),
        "throughput": Measured(100 * speed, 99 * speed, 101 * speed, 7, "1/s", "measured", "mean"),
    }
    return Trial(name, "base", Recipe.parse(list(methods)), "done", metrics=metrics, against_base=compared)


def test_the_two_best_that_can_stand_together_are_joined_first() -> None:
    trials = [
        trial("a", "onnxruntime", speed=1.5),
        trial("b", "openvino", speed=1.4),
        trial("c", "length-bucketing", speed=1.3),
    ]
    proposal = next_recipe(trials, BASE, SPEED, [KEEP], [t.recipe for t in trials])
    assert proposal is not None
    assert proposal.recipe.names() == ("onnxruntime", "length-bucketing")
    assert proposal.predicted == pytest.approx(math.log(1.5) + math.log(1.3), rel=1e-6)


def test_what_was_measured_is_not_proposed_again() -> None:
    trials = [trial("a", "onnxruntime", speed=1.5), trial("c", "length-bucketing", speed=1.3)]
    join = trial("d", "onnxruntime", "length-bucketing", speed=1.9)
    assert next_recipe([*trials, join], BASE, SPEED, [KEEP], [t.recipe for t in (*trials, join)]) is None


def test_a_method_that_broke_the_quality_is_not_joined() -> None:
    trials = [
        trial("a", "onnxruntime", speed=1.5),
        trial("b", "int8-dynamic", "onnxruntime", speed=2.5, quality=-0.05),
        trial("c", "length-bucketing", speed=1.3),
    ]
    proposal = next_recipe(trials, BASE, SPEED, [KEEP], [t.recipe for t in trials])
    assert proposal is not None
    assert "int8-dynamic" not in proposal.recipe.names()


def test_the_fastest_that_keeps_the_quality_is_chosen() -> None:
    fast_and_wrong = trial("wrong", "int8-dynamic", "onnxruntime", speed=3.0, quality=-0.05)
    right = trial("right", "onnxruntime", speed=1.5)
    assert choose([fast_and_wrong, right], BASE, SPEED, [KEEP]).trial is right


def test_a_recipe_that_would_probably_be_confirmed_goes_before_a_faster_one_at_the_edge() -> None:
    edge = trial("edge", "int8-dynamic", "onnxruntime", speed=3.0, quality=-0.002, half=0.007)
    safe = trial("safe", "onnxruntime", speed=1.5)
    assert choose([edge, safe], BASE, SPEED, [KEEP]).trial is safe


def test_a_gain_within_the_noise_is_not_joined() -> None:
    trials = [
        trial("a", "onnxruntime", speed=1.5),
        trial("b", "length-bucketing", speed=1.3),
        trial("c", "thread-tuning", speed=1.004),
    ]
    proposal = next_recipe(trials, BASE, SPEED, [KEEP], [t.recipe for t in trials])
    assert proposal is not None
    assert "thread-tuning" not in proposal.recipe.names()


def test_what_would_hardly_be_confirmed_is_not_joined() -> None:
    edge = trial("edge", "int8-dynamic", "onnxruntime", speed=3.0, quality=-0.002, half=0.007)
    trials = [edge, trial("b", "openvino", speed=1.4), trial("c", "length-bucketing", speed=1.3)]
    proposal = next_recipe(trials, BASE, SPEED, [KEEP], [t.recipe for t in trials])
    assert proposal is not None
    assert proposal.recipe.names() == ("openvino", "length-bucketing")


def test_a_tie_goes_to_the_shorter_recipe() -> None:
    short = trial("short", "onnxruntime", speed=1.500)
    long = trial("long", "onnxruntime", "length-bucketing", speed=1.505)
    assert choose([long, short], BASE, SPEED, [KEEP]).trial is short


def test_when_nothing_meets_the_requirements_the_nearest_miss_is_named() -> None:
    near, far = trial("near", "onnxruntime", speed=1.9), trial("far", "openvino", speed=1.2)
    wish = parse_requirement("throughput >= 200 /s", METRICS)
    choice = choose([near, far], BASE, SPEED, [KEEP, wish])
    assert choice.trial is None
    assert choice.nearest_miss is near


def test_the_base_is_chosen_when_nothing_is_better() -> None:
    assert choose([trial("slow", "onnxruntime", speed=0.7)], BASE, SPEED, [KEEP]).trial is BASE


def test_a_join_of_three_is_reported_with_the_additive_prediction_of_all_three() -> None:
    parts = [
        trial("a", "int8-dynamic", "onnxruntime", speed=2.0),
        trial("b", "length-bucketing", speed=1.2),
        trial("c", "token-budget", speed=1.5),
    ]
    join = trial("d", "int8-dynamic", "onnxruntime", "length-bucketing", "token-budget", speed=3.0)
    (found,) = interactions([*parts, join], BASE, SPEED)
    assert set(found.methods) == {"int8-dynamic + onnxruntime", "length-bucketing", "token-budget"}
    assert found.predicted == pytest.approx(100 * 2.0 * 1.2 * 1.5)
    assert found.observed.value == pytest.approx(300.0)


def test_a_join_is_reported_with_the_additive_prediction() -> None:
    parts = [trial("a", "onnxruntime", speed=1.5), trial("b", "length-bucketing", speed=1.2)]
    join = trial("c", "onnxruntime", "length-bucketing", speed=1.6)
    (found,) = interactions([*parts, join], BASE, SPEED)
    assert set(found.methods) == {"onnxruntime", "length-bucketing"}
    assert found.predicted == pytest.approx(100 * 1.5 * 1.2)
    assert found.observed.value == pytest.approx(160.0)
