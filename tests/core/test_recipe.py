"""Recipes: order by stage, exclusion by slot, configs checked, the same content the same hash."""

from __future__ import annotations

import pytest

from tiku.core import registry
from tiku.core.errors import BadInput, RecipeError, UnknownName
from tiku.core.hashing import hash_of
from tiku.core.recipe import Recipe


def test_steps_are_ordered_by_stage_whatever_the_order_given() -> None:
    one = Recipe.parse(["length-bucketing", "onnxruntime", "int8-dynamic"])
    other = Recipe.parse([{"method": "int8-dynamic"}, "length-bucketing", "onnxruntime"])
    assert one.names() == ("int8-dynamic", "onnxruntime", "length-bucketing")
    assert hash_of(one) == hash_of(other)


def test_number_formats_come_after_whatever_else_compresses() -> None:
    given = Recipe.parse(["int8-dynamic", "prune-depth", "vocabulary-trim"])
    assert given.names() == ("prune-depth", "vocabulary-trim", "int8-dynamic")


def test_a_written_out_default_is_the_same_recipe() -> None:
    config = dict(Recipe.parse(["int8-dynamic"]).steps[0].config)
    assert hash_of(Recipe.parse(["int8-dynamic"])) == hash_of(
        Recipe.parse([{"method": "int8-dynamic", "config": config}])
    )


@pytest.mark.parametrize(
    ("value", "kind", "named"),
    [
        (42, RecipeError, "list of steps"),
        ({}, RecipeError, "list of steps"),
        ([7], RecipeError, "NAME"),
        ([{"config": {}}], RecipeError, "NAME"),
        ([{"method": "int8-dynamic", "extra": 1}], RecipeError, "method, config"),
        (["int8-dynamik"], UnknownName, "int8-dynamic"),
        ([{"method": "int8-dynamic", "config": {"per_chanel": True}}], RecipeError, "per_channel"),
        ([{"method": "int8-dynamic", "config": {"per_channel": "yes"}}], RecipeError, "true or false"),
        ([{"method": "int8-dynamic", "config": 3}], RecipeError, "key: value"),
        (["onnxruntime", "openvino"], RecipeError, "keep one"),
        (["int8-dynamic", "int8-dynamic"], RecipeError, "keep one"),
    ],
)
def test_a_bad_recipe_says_what_is_allowed(value: object, kind: type[BadInput], named: str) -> None:
    with pytest.raises(kind) as caught:
        Recipe.parse(value)
    assert caught.value.exit_code == 2
    assert named in " ".join(caught.value.parts().values())


def test_unknown_names_get_the_nearest_ones() -> None:
    with pytest.raises(UnknownName) as caught:
        registry.get("questions", "inferense")
    assert caught.value.next_step == "did you mean inference?"
