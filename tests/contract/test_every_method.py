"""Every registered method keeps the contract; a new file is covered without a change here."""

import pytest

from tiku.core import registry
from tiku.core.method import Situation
from tiku.testing import check_declaration, check_method, tiny_classifier, tiny_context, tiny_language_model

_SLOW = {"torch-compile"}  # compiles C++ for each opening

_SITUATIONS = [
    Situation("text-classification", "text-classification", "cpu", 22_000_000, ("bad", "good")),
    Situation("causal-lm", "causal-lm", "cpu", 134_000_000, budget="quick"),
]


def _all_methods():
    return [
        pytest.param(name, marks=[pytest.mark.slow] if name in _SLOW else [])
        for name in registry.names("methods")
    ]


@pytest.mark.parametrize("name", registry.names("methods"))
@pytest.mark.parametrize("situation", _SITUATIONS, ids=lambda s: s.task)
def test_declaration_is_complete_and_survives_a_recipe(name, situation):
    check_declaration(registry.get("methods", name), situation)


@pytest.mark.parametrize("name", _all_methods())
def test_classifier_is_left_untouched_and_the_result_survives_save_and_load(name, tmp_path):
    check_method(registry.get("methods", name), tiny_classifier(), tiny_context(tmp_path))


@pytest.mark.parametrize("name", registry.names("methods"))
def test_language_model_is_changed_without_side_effects_or_refused_with_a_reason(name, tmp_path):
    method, subject = registry.get("methods", name), tiny_language_model()
    if method.tasks and subject.task not in method.tasks:
        pytest.skip("the method is for other tasks")
    check_method(method, subject, tiny_context(tmp_path))
