"""`tiku apply RECIPE MODEL --data DATA --out DIR`: build a recipe again, anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tiku.cli import _options as o
from tiku.cli._console import print_json, watching

__all__ = ["register"]

_RECIPE = "A recipe.yaml, or an artefact folder that holds one."
_Recipe = Annotated[Path, typer.Argument(help=_RECIPE, metavar="RECIPE")]
_TO = "The folder to write the artefact into; an older artefact there is replaced."
_To = Annotated[Path, typer.Option("--out", "-o", help=_TO, metavar="DIR")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("apply", short_help="Build a saved recipe into an artefact.")(o.takes_plan_options(apply))


def apply(
    recipe: _Recipe,
    given: dict[str, Any],
    out: _To,
    lang: o.Lang = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Apply a recipe to a model and write the artefact."""
    language = o.language(lang)
    from tiku.api import apply_recipe_file
    from tiku.examination.plan import Plan

    plan = Plan(**given, out=out)
    with watching(quiet, language) as watch:
        manifest = apply_recipe_file(recipe, plan, watch=watch)
    if as_json:
        print_json({"artefact": str(out), "runtime": manifest.runtime, "facts": manifest.facts})
    else:
        print(f"{out}: {manifest.runtime}, {manifest.numerics.scheme}, {len(manifest.files)} files")
