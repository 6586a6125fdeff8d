"""`tiku apply RECIPE MODEL --data DATA --out DIR`: build a recipe again, anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiku.cli import _options as o
from tiku.cli._console import print_json, watching

__all__ = ["register"]

_Recipe = Annotated[Path, typer.Argument(help="A recipe.yaml, or an artefact folder that holds one.")]
_To = Annotated[Path, typer.Option("--out", "-o", help="The folder to write the artefact into.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("apply")(apply)


def apply(
    recipe: _Recipe,
    model: o.Model,
    data: o.Data,
    out: _To,
    budget: o.Budget = "standard",
    seed: o.Seed = 0,
    threads: o.Threads = None,
    device: o.Device = "auto",
    task: o.TaskName = None,
    text: o.TextColumn = None,
    text_pair: o.PairColumn = None,
    label: o.LabelColumn = None,
    group: o.GroupColumn = None,
    slices: o.SliceColumns = None,
    label_map: o.LabelMap = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Apply a recipe to a model and write the artefact."""
    from tiku.api import apply_recipe_file
    from tiku.examination.plan import Plan

    plan = Plan(
        model=model, data=tuple(data), out=out, task=task, budget=budget, seed=seed, threads=threads,
        device=device, columns=o.columns(text, text_pair, label, group, slices, label_map),
    )  # fmt: skip
    with watching(quiet) as watch:
        manifest = apply_recipe_file(recipe, plan, watch=watch)
    if as_json:
        print_json({"artefact": str(out), "runtime": manifest.runtime, "facts": manifest.facts})
    else:
        print(f"{out}: {manifest.runtime}, {manifest.numerics.scheme}, {len(manifest.files)} files")
