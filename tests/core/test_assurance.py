"""How probable it is that a second measurement confirms a requirement."""

from __future__ import annotations

import numpy as np
import pytest

from tiku.core.measured import Measured
from tiku.core.metric import Metric
from tiku.core.requirement import assurance, evaluate, parse_requirement
from tiku.core.text import Text
from tiku.core.verdict import Comparison

QUALITY = Metric("accuracy", "1", "higher", Text("a", "a"))
LATENCY = Metric("p95_latency", "s", "lower", Text("l", "l"), scale="ratio")
METRICS = {m.name: m for m in (QUALITY, LATENCY)}
BASE = Measured(0.85, 0.83, 0.87, 1000, "1", "measured", "Wilson")


def seen(value: float, half: float, unit: str = "1") -> Measured:
    return Measured(value, value - half, value + half, 1000, unit, "measured", "mean")


@pytest.mark.parametrize("value", [0.80, 0.81, 0.82, 0.84])
def test_the_assurance_is_the_share_of_second_measurements_that_meet_the_requirement(value: float) -> None:
    """Simulated: the truth around the value seen, a second value around the truth, its interval judged."""
    requirement, half = parse_requirement("accuracy >= 0.8", METRICS), 0.0196
    rng = np.random.default_rng(0)
    truths = rng.normal(value, 0.01, 4000)
    again = rng.normal(truths, 0.01)
    met = [evaluate(requirement, seen(float(v), half)).met is True for v in again]
    assert assurance(requirement, seen(value, half)) == pytest.approx(np.mean(met), abs=0.03)


def test_smaller_is_better_mirrors_it() -> None:
    above = parse_requirement("accuracy >= 0.8", METRICS)
    below = parse_requirement("p95_latency <= 20 ms", METRICS)
    assert assurance(below, seen(0.018, 0.001, "s")) == pytest.approx(
        assurance(above, seen(0.802, 0.001)), abs=1e-12
    )


def test_a_relative_requirement_counts_with_the_paired_interval() -> None:
    requirement = parse_requirement("accuracy >= base - 1 pt", METRICS)
    near = Comparison(0.85, 0.85, "difference", 0.0, -0.001, 0.001, "equivalent", 0.001, "McNemar")
    far = Comparison(0.85, 0.85, "difference", 0.0, -0.009, 0.009, "equivalent", 0.009, "McNemar")
    assert assurance(requirement, seen(0.85, 0.02), base=BASE, against_base=near) > 0.999
    assert assurance(requirement, seen(0.85, 0.02), base=BASE, against_base=far) < 0.6


def test_what_does_not_vary_is_certain_either_way() -> None:
    requirement = parse_requirement("accuracy >= 0.8", METRICS)
    assert assurance(requirement, seen(0.8, 0.0)) == 1.0
    assert assurance(requirement, seen(0.79, 0.0)) == 0.0


def test_the_base_is_sure_of_what_is_asked_relative_to_it() -> None:
    assert assurance(parse_requirement("accuracy >= 0.98 * base", METRICS), BASE, base=BASE) == 1.0


def test_nothing_measured_gives_no_assurance() -> None:
    requirement = parse_requirement("accuracy >= 0.8", METRICS)
    assert assurance(requirement, None) == 0.0
    assert assurance(requirement, Measured(0.9, None, None, 3, "1", "measured", "mean")) == 0.0
