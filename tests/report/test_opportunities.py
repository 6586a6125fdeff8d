"""Which candidates the report calls opportunities."""

from __future__ import annotations

from dataclasses import replace

from tests.report.builder import build_result, trial
from tiku.core.instrument import all_metrics
from tiku.core.result import Result
from tiku.core.verdict import Comparison
from tiku.report.labels import labels_of
from tiku.report.opportunities import sort_out

_JUST = Comparison(61.0, 59.8, "ratio", 0.98, 0.963, 0.998, "better", 0.025, "interleaved pairs")
_NOTHING = Comparison(61.0, 61.0, "ratio", 1.0, 0.98, 1.02, "equivalent", 0.028, "interleaved pairs")


def _candidates(others: int) -> Result:
    """One that is just better by its own interval, among `others` that change nothing."""
    result = build_result()
    meets = {"p95_latency": 0.5, "artefact_size": 0.25}
    apart = [
        trial(f"t{place:07d}", [("token-budget", {"tokens": 512 + place})], meets)
        for place in range(others + 1)
    ]
    made = [
        replace(one, against_base={**one.against_base, "energy_per_1000": _NOTHING if place else _JUST})
        for place, one in enumerate(apart)
    ]
    return replace(result, trials=(result.trial(result.base), *made), chosen=None)


def test_a_single_candidate_that_is_better_is_an_opportunity() -> None:
    result = _candidates(0)
    found, aside = sort_out(result, labels_of(result), all_metrics())
    assert len(found) == 1 and aside == ()


def test_the_luckiest_of_many_candidates_is_none_and_the_reason_is_told() -> None:
    result = _candidates(12)
    found, aside = sort_out(result, labels_of(result), all_metrics())
    assert found == () and len(aside) == 13
    lucky = "better alone, not after Holm's correction over 13 comparisons"
    assert [lucky in [r.en for r in one.reasons] for one in aside] == [True] + 12 * [False]


def test_a_saving_at_the_edge_of_a_requirement_tells_how_probable_its_confirmation_is() -> None:
    result = _candidates(0)
    edge = Comparison(0.8521, 0.8461, "difference", -0.006, -0.0165, 0.0045, "cannot tell", 0.0105, "McNemar")
    base, made = result.trials
    at_edge = replace(made, against_base={**made.against_base, "accuracy": edge})
    (found,), _ = sort_out(replace(result, trials=(base, at_edge)), labels_of(result), all_metrics())
    (safe,), _ = sort_out(result, labels_of(result), all_metrics())
    assert found.certain and not found.assured and 0.5 < found.assurance < 0.6
    assert safe.assured
