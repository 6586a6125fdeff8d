"""Requirements: what parses, what is refused, and when one is met, missed or open."""

from __future__ import annotations

import pytest

from tiku.core.errors import BadInput, RequirementError, UnknownName
from tiku.core.measured import Measured
from tiku.core.metric import Metric
from tiku.core.requirement import evaluate, parse_requirement
from tiku.core.text import Text
from tiku.core.verdict import Comparison

TITLE = Text("x", "x")
METRICS = {
    m.name: m
    for m in (
        Metric("accuracy", "1", "higher", TITLE),
        Metric("p95_latency", "s", "lower", TITLE, scale="ratio", aliases=("tail",)),
        Metric("artefact_size", "byte", "lower", TITLE, scale="ratio"),
        Metric("energy_per_1000", "J", "lower", TITLE, scale="ratio", aliases=("energy",)),
    )
}


def measured(value: float, low: float | None, high: float | None, unit: str = "1", n: int = 100) -> Measured:
    return Measured(value, low, high, n, unit, "measured", "test")


@pytest.mark.parametrize(
    ("text", "base", "threshold"),
    [
        ("accuracy >= 0.9", None, 0.9),
        ("accuracy>=90%", None, 0.9),
        ("accuracy ≥ 0.98 * base", 0.5, 0.49),
        ("accuracy >= base * 0.98", 0.5, 0.49),
        ("accuracy >= base - 1 pt", 0.5, 0.49),
        ("accuracy > base", 0.5, 0.5),
        ("p95_latency <= 20 ms", None, 0.020),
        ("tail <= 20ms", None, 0.020),
        ("p95_latency < base + 500 us", 0.01, 0.0105),
        ("artefact_size <= 200 MB", None, 200e6),
        ("artefact_size <= 1 GiB", None, 2.0**30),
        ("energy <= 1 kJ", None, 1000.0),
        ("energy <= 0.001 kWh", None, 3600.0),
    ],
)
def test_a_requirement_parses_to_its_threshold(text: str, base: float | None, threshold: float) -> None:
    assert parse_requirement(text, METRICS).threshold(base) == pytest.approx(threshold, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "kind", "named"),
    [
        ("", RequirementError, "METRIC OP VALUE"),
        ("accuracy", RequirementError, "METRIC OP VALUE"),
        ("accuracy >=", RequirementError, "METRIC OP VALUE"),
        (">= 0.9", RequirementError, "METRIC OP VALUE"),
        ("accuracy == 0.9", RequirementError, ">="),
        ("acuracy >= 0.9", UnknownName, "accuracy"),
        ("latency <= 20 ms", UnknownName, "p95_latency"),
        ("accuracy >= high", RequirementError, "0.9"),
        ("accuracy >= nan", RequirementError, "0.9"),
        ("accuracy >= 1e999", RequirementError, "0.9"),
        ("accuracy >= 20 ms", RequirementError, "1.00"),
        ("p95_latency <= 20", RequirementError, "unit"),
        ("p95_latency <= 20 mz", RequirementError, "ms"),
        ("p95_latency <= 20 MB", RequirementError, "s"),
        ("accuracy >= -1 * base", RequirementError, "positive"),
        ("accuracy >= 0 * base", RequirementError, "positive"),
        ("accuracy >= base ^ 2", RequirementError, "0.98 * base"),
        ("accuracy >= base - 1 ms", RequirementError, "1.00"),
    ],
)
def test_a_bad_requirement_says_what_is_allowed(text: str, kind: type[BadInput], named: str) -> None:
    with pytest.raises(kind) as caught:
        parse_requirement(text, METRICS)
    parts = caught.value.parts()
    assert caught.value.exit_code == 2
    assert named in " ".join(parts.values())
    assert "allowed" in parts or "next" in parts


@pytest.mark.parametrize(
    ("text", "low", "high", "met"),
    [
        ("accuracy >= 0.80", 0.81, 0.89, True),
        ("accuracy >= 0.80", 0.70, 0.79, False),
        ("accuracy >= 0.80", 0.75, 0.85, None),
        ("accuracy >= 0.80", 0.80, 0.90, True),
        ("accuracy > 0.80", 0.80, 0.90, None),
        ("p95_latency <= 20 ms", 0.010, 0.019, True),
        ("p95_latency <= 20 ms", 0.021, 0.030, False),
        ("p95_latency <= 20 ms", 0.019, 0.021, None),
    ],
)
def test_the_whole_interval_decides(text: str, low: float, high: float, met: bool | None) -> None:
    requirement = parse_requirement(text, METRICS)
    observed = measured((low + high) / 2, low, high, requirement.metric.unit)
    outcome = evaluate(requirement, observed)
    assert outcome.met is met
    assert (outcome.reason is None) == (met is not None)


def test_a_relative_requirement_uses_the_paired_interval() -> None:
    requirement = parse_requirement("accuracy >= base - 1 pt", METRICS)
    base, value = measured(0.80, 0.76, 0.84), measured(0.799, 0.75, 0.84)
    paired = Comparison(0.80, 0.799, "difference", -0.001, -0.004, 0.002, "equivalent", 0.004, "test")
    assert evaluate(requirement, value, base=base, against_base=paired).met is True
    assert evaluate(requirement, value, base=base).met is None  # unpaired, the interval is far too wide


def test_a_ratio_comparison_scales_the_base() -> None:
    requirement = parse_requirement("p95_latency <= 0.5 * base", METRICS)
    base, value = measured(0.040, 0.03, 0.05, "s"), measured(0.018, 0.01, 0.03, "s")
    paired = Comparison(0.040, 0.018, "ratio", 0.45, 0.42, 0.48, "better", None, "test")
    assert evaluate(requirement, value, base=base, against_base=paired).met is True


def test_the_base_keeps_its_own_quality() -> None:
    base = measured(0.8, 0.7, 0.9)
    assert evaluate(parse_requirement("accuracy >= base - 1 pt", METRICS), base, base=base).met is True
    assert evaluate(parse_requirement("accuracy >= 1.02 * base", METRICS), base, base=base).met is False


def test_what_was_not_measured_is_never_met() -> None:
    requirement = parse_requirement("accuracy >= 0.1", METRICS)
    outcome = evaluate(requirement, None)
    assert outcome.met is None
    assert outcome.reason is not None


def test_an_open_requirement_says_how_many_items_would_settle_it() -> None:
    outcome = evaluate(parse_requirement("accuracy >= 0.80", METRICS), measured(0.82, 0.78, 0.86, n=400))
    # half-width 0.04 at n = 400 must shrink to 0.02: four times the items
    assert outcome.reason is not None
    assert "1,600" in outcome.reason.en


def test_the_items_needed_are_reckoned_from_the_value_and_the_side_that_faces_the_threshold() -> None:
    # 0.99 must keep 0.005 above 0.985; its lower half-width is 0.02, four times too wide
    outcome = evaluate(parse_requirement("accuracy >= 0.985", METRICS), measured(0.99, 0.97, 0.997, n=500))
    assert outcome.reason is not None
    assert "8,000 items" in outcome.reason.en and "(500 now)" in outcome.reason.en
    assert "8,000" in outcome.reason.zh and "500" in outcome.reason.zh


def test_times_need_measurements_and_a_relative_requirement_counts_from_the_paired_interval() -> None:
    requirement = parse_requirement("p95_latency <= 0.5 * base", METRICS)
    base, value = measured(0.040, 0.03, 0.05, "s", 72), measured(0.0192, 0.01, 0.03, "s", 72)
    paired = Comparison(0.040, 0.0192, "ratio", 0.48, 0.44, 0.52, "better", None, "test")
    outcome = evaluate(requirement, value, base=base, against_base=paired)
    assert outcome.met is None and outcome.reason is not None
    assert "288 measurements" in outcome.reason.en and "288" in outcome.reason.zh  # 0.04 must become 0.02


def test_a_value_on_the_threshold_is_settled_by_no_number_of_items() -> None:
    outcome = evaluate(parse_requirement("accuracy >= 0.8", METRICS), measured(0.8, 0.75, 0.85))
    assert outcome.reason is not None
    assert "no number" in outcome.reason.en and "再多" in outcome.reason.zh


@pytest.mark.parametrize("text", ["p95_latency <= 20 ms", "p95_latency <= 2 * base"])
def test_a_value_without_an_interval_decides_nothing(text: str) -> None:
    bare = Measured(0.001, None, None, 30, "s", "measured", "p99, no interval under 368 values")
    base = measured(0.010, 0.009, 0.011, "s")
    outcome = evaluate(parse_requirement(text, METRICS), bare, base=base)
    assert outcome.met is None and outcome.reason is not None
    for told in (outcome.reason.en, outcome.reason.zh):
        assert "30" in told and "368" in told


def test_without_pairing_the_bases_own_uncertainty_counts_too() -> None:
    requirement = parse_requirement("accuracy >= 0.5 * base", METRICS)
    value = measured(0.45, 0.42, 0.48)
    assert evaluate(requirement, value, base=measured(0.8, 0.79, 0.81)).met is True
    assert evaluate(requirement, value, base=measured(0.8, 0.6, 1.0)).met is None
