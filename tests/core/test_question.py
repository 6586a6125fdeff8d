"""Which recipes a question answers for."""

from __future__ import annotations

import pytest

from tiku.core.question import serves
from tiku.core.recipe import Recipe


@pytest.mark.parametrize(
    ("methods", "question", "belongs"),
    [
        (["int8-dynamic", "onnxruntime", "token-budget"], "inference", True),
        (["half-weights"], "memory", True),
        (["half-weights", "token-budget"], "inference", False),
        (["int8-dynamic"], "interpretability", False),
    ],
)
def test_a_join_belongs_to_the_questions_that_all_of_its_methods_serve(methods, question, belongs) -> None:
    assert serves(Recipe.parse(methods), question) is belongs
