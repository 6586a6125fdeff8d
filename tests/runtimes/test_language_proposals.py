"""What the questions propose for a language model: each runtime, alone and under every number format."""

import pytest

from tiku.core import registry
from tiku.core.method import Situation


@pytest.mark.parametrize("question", ["inference", "memory"])
def test_language_models_are_tried_in_each_runtime_in_float_and_in_int8(question):
    situation = Situation("causal-lm", "causal-lm", "cpu", 134_000_000, budget="quick")
    proposals = registry.get("questions", question).propose(situation)
    tried = {tuple(m.name for m in proposal.recipe.methods()) for proposal in proposals}
    for runtime in ("onnxruntime", "openvino"):
        assert {(runtime,), ("int8-dynamic", runtime)} <= tried


def test_int8_of_a_language_model_begins_with_groups_and_its_head():
    method = registry.get("methods", "int8-dynamic")
    quick, standard = (
        method.candidates(Situation("causal-lm", "causal-lm", "cpu", 1, budget=b))
        for b in ("quick", "standard")
    )
    assert [(m.group_size, m.quantize_head) for m in quick] == [(32, True)]
    assert [(m.group_size, m.quantize_head) for m in standard] == [(32, True), (None, False)]
