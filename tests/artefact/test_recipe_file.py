"""recipe.yaml: read back what was written; every mistake named."""

import pytest

from tiku.artefact import parse_recipe, read_recipe, write_recipe
from tiku.core.errors import RecipeError, UnknownName
from tiku.core.recipe import Recipe
from tiku.methods.compile.onnxruntime import OnnxRuntimeMethod
from tiku.methods.quantize.int8_dynamic import Int8Dynamic
from tiku.methods.serving.token_budget import TokenBudget


def test_recipe_comes_back_equal_and_in_stage_order(tmp_path):
    recipe = Recipe.of(TokenBudget(512), OnnxRuntimeMethod(), Int8Dynamic(group_size=32))
    write_recipe(recipe, tmp_path / "recipe.yaml")
    assert read_recipe(tmp_path / "recipe.yaml") == recipe
    assert recipe.names() == ("int8-dynamic", "onnxruntime", "token-budget")


def test_base_recipe_has_no_steps(tmp_path):
    write_recipe(Recipe(), tmp_path / "recipe.yaml")
    assert read_recipe(tmp_path / "recipe.yaml") == Recipe()


def test_plain_names_take_the_defaults():
    assert parse_recipe("steps: [token-budget]") == Recipe.of(TokenBudget())
    assert parse_recipe("- token-budget") == Recipe.of(TokenBudget())


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("", RecipeError, "empty"),
        ("steps: [a\nb: ]", RecipeError, "line 2"),
        ("steps: 3", RecipeError, "list of steps"),
        ("- {config: {}}", RecipeError, "names its method"),
        ("- {method: token-budget, extra: 1}", RecipeError, "extra"),
        ("- token-budgt", UnknownName, "token-budget"),
        ("- {method: token-budget, config: {tokens: 3}}", RecipeError, "out of range"),
        ("- {method: token-budget, config: {tokens: many}}", RecipeError, "number"),
        ("- {method: token-budget, config: {token: 99}}", RecipeError, "tokens"),
        ("- {method: token-budget, config: 7}", RecipeError, "not a mapping"),
        ("[onnxruntime, openvino]", RecipeError, "exclude each other"),
        ("!!python/object/apply:os.system ['true']", RecipeError, "line 1"),
    ],
)
def test_mistakes_are_named(text, error, said):
    with pytest.raises(error) as caught:
        parse_recipe(text)
    assert said in str(caught.value)


def test_missing_file_and_binary_file_are_recipe_errors(tmp_path):
    with pytest.raises(RecipeError, match="cannot be read"):
        read_recipe(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(RecipeError, match="cannot be read"):
        read_recipe(tmp_path / "binary.yaml")
