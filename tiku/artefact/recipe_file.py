"""`recipe.yaml`: a recipe as people read and edit it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiku.core.errors import RecipeError
from tiku.core.files import write_text
from tiku.core.hashing import canonical
from tiku.core.recipe import Recipe

__all__ = ["parse_recipe", "read_recipe", "recipe_text", "write_recipe"]

_HEADER = "# A tiku recipe. `tiku apply THIS_FILE MODEL --data DATA --out DIR` applies it again.\n"
_ALLOWED = "steps: a list of NAME or {method: NAME, config: {…}}"


def recipe_text(recipe: Recipe) -> str:
    """The YAML of a recipe; `parse_recipe` reads it back to an equal recipe."""
    import yaml

    steps = [{"method": step.method, "config": canonical(step.config)} for step in recipe.steps]
    return _HEADER + str(yaml.safe_dump({"steps": steps}, sort_keys=False, allow_unicode=True))


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write the YAML atomically. Raises `OutOfSpace`."""
    write_text(path, recipe_text(recipe))


def parse_recipe(text: str, *, name: str = "recipe") -> Recipe:
    """A recipe from YAML text. Raises `RecipeError` (with the line) and `UnknownName`."""
    import yaml

    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise RecipeError(
            "the recipe is not valid YAML",
            got=_where(name, error),
            allowed=_ALLOWED,
            next_step="correct that line",
        ) from error
    if value is None:
        raise RecipeError(
            "the recipe is empty", got=name, allowed=_ALLOWED, next_step="name at least one method"
        )
    return Recipe.parse(value)


def read_recipe(path: Path) -> Recipe:
    """A recipe from a file. Raises `RecipeError` and `UnknownName`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            "the recipe file cannot be read",
            got=f"{path}: {error}",
            allowed="a YAML file in UTF-8",
            next_step="save it as UTF-8 text" if isinstance(error, ValueError) else "check the path",
        ) from error
    return parse_recipe(text, name=str(path))


def _where(name: str, error: Any) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
    return f"{name}: {problem}" if mark is None else f"{name}, line {mark.line + 1}: {problem}"
