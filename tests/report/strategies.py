"""Any result that the schema allows, for hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tiku.core.measured import Measured
from tiku.core.recipe import Recipe, Step
from tiku.core.result import Answer, Confirmation, Cost, Interaction, RequirementOutcome, Result, Trial
from tiku.core.text import Text
from tiku.core.verdict import Comparison

from .builder import build_result

__all__ = ["results"]

words = st.text(max_size=12)
numbers = st.floats(-1e12, 1e12, allow_nan=False)
texts = st.builds(Text, words, words)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def measureds(draw: Any) -> Measured:
    low, value, high = sorted(draw(st.tuples(numbers, numbers, numbers)))
    bounds = (low, high) if draw(st.booleans()) else (None, None)
    how = draw(st.sampled_from(["measured", "counter", "modelled", "cited"]))
    return Measured(value, *bounds, draw(st.integers(0, 10**9)), draw(words), how, draw(words))


comparisons = st.builds(
    Comparison,
    numbers,
    numbers,
    st.sampled_from(["difference", "ratio"]),
    numbers,
    numbers,
    numbers,
    st.sampled_from(["better", "worse", "equivalent", "cannot tell"]),
    st.none() | numbers,
    words,
)
metrics = st.dictionaries(words, measureds(), max_size=3)
steps = st.builds(Step, st.text(min_size=1, max_size=8), st.dictionaries(words, json_values, max_size=2))


@st.composite
def trials(draw: Any, id: str) -> Trial:
    status = draw(st.sampled_from(["done", "refused", "failed", "timeout", "out of memory"]))
    return Trial(
        id,
        draw(st.none() | st.just("base")),
        Recipe(tuple(draw(st.lists(steps, max_size=2)))),
        status,
        draw(texts) if status != "done" else None,
        draw(metrics),
        draw(st.dictionaries(words, comparisons, max_size=2)),
        draw(st.dictionaries(words, json_values, max_size=2)),
        tuple(draw(st.lists(texts, max_size=2))),
        draw(st.none() | st.builds(Cost, st.floats(0, 1e6), st.none() | numbers, st.integers(0, 2**40))),
        draw(words),
    )


@st.composite
def results(draw: Any) -> Result:
    ids = [f"trial-{i}" for i in range(draw(st.integers(1, 3)))]
    some_id = st.sampled_from(ids)
    answers = st.builds(
        Answer,
        st.sampled_from(["pass", "fail", "inconclusive", "informative", "not measured"]),
        texts,
        st.none() | some_id,
        st.lists(some_id, max_size=2).map(tuple),
        st.lists(texts, max_size=2).map(tuple),
        st.none() | words,
    )
    outcomes = st.builds(
        RequirementOutcome,
        st.text(min_size=1, max_size=12).filter(str.strip),
        st.none() | st.booleans(),
        st.none() | measureds(),
        st.sampled_from(["test", "validation"]),
        st.none() | numbers,
        st.none() | texts,
    )
    check = {"max_abs_diff": draw(st.none() | numbers), "hashes_ok": draw(st.none() | st.booleans())}
    confirmation = Confirmation(
        draw(some_id), draw(metrics), draw(metrics), {}, check, {"a": draw(json_values)}
    )
    paired = st.builds(Interaction, st.just(("a", "b")), numbers, measureds(), words)
    sample = build_result()
    return Result(
        tiku=draw(words),
        run_id=draw(st.text(min_size=1, max_size=8)),
        started="2026-01-01T00:00:00Z",
        finished="2026-01-01T00:01:00Z",
        environment=sample.environment,
        model=sample.model,
        data={**sample.data, "parts": [dict(sample.data)]},
        plan=sample.plan,
        base=draw(some_id),
        chosen=draw(st.none() | some_id),
        decision=draw(st.sampled_from(["ship", "do not ship", "cannot tell"])),
        reasons=tuple(draw(st.lists(texts, max_size=2))),
        requirements=tuple(draw(st.lists(outcomes, max_size=3))),
        questions=draw(st.dictionaries(words, answers, max_size=3)),
        trials=tuple(draw(trials(id)) for id in ids),
        interactions=tuple(draw(st.lists(paired, max_size=2))),
        confirmation=draw(st.none() | st.just(confirmation)),
        warnings=tuple(draw(st.lists(texts, max_size=2))),
        errors=tuple(draw(st.lists(words, max_size=2))),
    )
