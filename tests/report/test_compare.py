from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tiku.core.measured import Measured
from tiku.core.result import Result
from tiku.report.compare import compare, print_comparison

from .builder import build_result


def with_metric(result: Result, name: str, value: Measured) -> Result:
    """The result whose confirmed chosen recipe has another value of one metric."""
    confirmed = result.confirmation
    assert confirmed is not None
    return replace(result, confirmation=replace(confirmed, metrics={**confirmed.metrics, name: value}))


def around(value: float, low: float, high: float, unit: str = "1") -> Measured:
    return Measured(value, low, high, 2000, unit, "measured", "Wilson")


def verdicts(a: Result, b: Result, role: str = "chosen") -> dict[str, str]:
    return {row.metric: row.verdict for row in compare(a, b).rows if row.role == role}


def test_a_result_against_itself_is_never_better_or_worse() -> None:
    result = build_result()
    found = set(verdicts(result, result).values()) | set(verdicts(result, result, "base").values())
    assert not found & {"better", "worse"}


def test_separate_intervals_support_better_and_overlapping_ones_do_not() -> None:
    result = build_result()
    a = with_metric(result, "accuracy", around(0.80, 0.78, 0.82))
    far = with_metric(result, "accuracy", around(0.88, 0.86, 0.90))
    near = with_metric(result, "accuracy", around(0.81, 0.79, 0.83))
    assert verdicts(a, far)["accuracy"] == "better"
    assert verdicts(far, a)["accuracy"] == "worse"
    assert verdicts(a, near)["accuracy"] == "cannot tell"


def test_the_interval_of_a_difference_of_proportions_is_newcombes() -> None:
    # Newcombe 1998, method 10, first example: 56/70 against 48/80 gives 0.0524 to 0.3339.
    result = build_result()
    a = with_metric(result, "accuracy", around(48 / 80, 0.490514, 0.700414))
    b = with_metric(result, "accuracy", around(56 / 70, 0.691775, 0.876946))
    row = next(r for r in compare(a, b).rows if r.metric == "accuracy")
    assert row.comparison is not None
    assert row.comparison.low == pytest.approx(0.0524, abs=2e-4)
    assert row.comparison.high == pytest.approx(0.3339, abs=2e-4)


def test_the_interval_of_a_ratio_covers_it_as_often_as_it_says() -> None:
    """Sizes with lognormal error, 4,000 simulated pairs: a 95 % interval holds 95 % of the time."""
    rng = np.random.default_rng(1)
    result, held = build_result(), 0
    sigma = np.array([0.05, 0.08])
    draws = np.exp(rng.normal(np.log([2e8, 1e8]), sigma, (300, 2)))
    for pair in draws:
        a, b = (
            around(v, v * math.exp(-1.96 * s), v * math.exp(1.96 * s), "byte")
            for v, s in zip(pair.tolist(), sigma.tolist(), strict=True)
        )
        one, two = with_metric(result, "peak_memory", a), with_metric(result, "peak_memory", b)
        row = next(r for r in compare(one, two).rows if r.metric == "peak_memory")
        assert row.comparison is not None
        held += row.comparison.low <= 0.5 <= row.comparison.high
    assert 0.91 <= held / 300 <= 0.985


def test_times_of_two_runs_need_more_than_the_drift_that_the_control_allows() -> None:
    result = build_result()
    a = with_metric(result, "p50_latency", around(0.0100, 0.00999, 0.01001, "s"))
    by_8 = with_metric(result, "p50_latency", around(0.0092, 0.00919, 0.00921, "s"))
    by_20 = with_metric(result, "p50_latency", around(0.0080, 0.00799, 0.00801, "s"))
    assert verdicts(a, by_8)["p50_latency"] == "cannot tell"
    assert verdicts(a, by_20)["p50_latency"] == "better"


def test_other_data_leaves_only_exact_counts_comparable() -> None:
    a = build_result()
    b = replace(a, data={**a.data, "sha256": "ef" * 32})
    found = verdicts(a, b)
    assert found.pop("artefact_size") == "equivalent"
    assert set(found.values()) == {"not comparable"}
    assert any("different data" in w.en for w in compare(a, b).warnings)


def test_other_splits_of_the_same_data_are_other_data() -> None:
    a = build_result()
    b = replace(a, data={**a.data, "splits": {**a.data["splits"], "test": 1000}})
    assert verdicts(a, b)["accuracy"] == "not comparable"


def test_another_budget_is_another_protocol() -> None:
    a = build_result()
    b = replace(a, plan={**a.plan, "budget": "quick"})
    assert verdicts(a, b)["accuracy"] == "not comparable"
    assert any("quick" in w.en for w in compare(a, b).warnings)


def test_another_machine_keeps_quality_and_drops_times_energy_and_memory() -> None:
    a = build_result()
    b = replace(a, environment={**a.environment, "cpu": "another"})
    found = verdicts(a, b)
    assert found["accuracy"] == "cannot tell"
    for name in ("p50_latency", "throughput", "energy_per_1000", "peak_memory"):
        assert found[name] == "not comparable", name
    assert any("cpu" in w.en for w in compare(a, b).warnings)


def test_what_one_side_lacks_or_gives_without_interval_is_not_compared() -> None:
    a = build_result()
    assert a.confirmation is not None
    metrics = {k: v for k, v in a.confirmation.metrics.items() if k != "ece"}
    b = replace(a, confirmation=replace(a.confirmation, metrics=metrics))
    b = with_metric(b, "log_loss", Measured(0.3, None, None, 1, "1", "measured", "once"))
    rows = {r.metric: r for r in compare(a, b).rows if r.role == "chosen"}
    assert rows["ece"].reason is not None and rows["ece"].reason.en == "not measured in b"
    assert rows["log_loss"].verdict == "not comparable"


def test_an_unconfirmed_side_moves_both_to_validation() -> None:
    a = build_result()
    found = compare(a, replace(a, confirmation=None))
    assert found.on == "validation"
    row = next(r for r in found.rows if r.metric == "accuracy" and r.role == "chosen")
    assert row.a is not None and row.a.n == 1586


def test_json_and_table_name_both_results_and_every_warning(capsys: pytest.CaptureFixture[str]) -> None:
    a = build_result()
    comparison = compare(a, replace(a, run_id="other", environment={**a.environment, "cpu": "another"}))
    value = comparison.to_json()
    assert value["b"]["run_id"] == "other" and len(value["warnings"]) == 1
    size = next(r for r in value["rows"] if r["metric"] == "artefact_size")
    assert size["comparison"]["ratio"] == 1.0
    print_comparison(comparison, language="zh")
    printed = capsys.readouterr().out
    assert "机器不同" in printed and "other" in printed and "\x1b" not in printed
