"""`tiku exam MODEL --data DATA …`: the main job."""

from __future__ import annotations

from pathlib import Path

import typer

from tiku.cli import _options as o
from tiku.cli._console import print_json, watching

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("exam")(exam)


def exam(
    model: o.Model,
    data: o.Data,
    require: o.Require = None,
    minimize: o.Minimize = None,
    maximize: o.Maximize = None,
    out: o.Out = Path("out/exam"),
    budget: o.Budget = "standard",
    minutes: o.Minutes = None,
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
    lang: o.Lang = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> int:
    """Answer the ten questions on a model and data, find the recipe that meets the requirements, prove it."""
    language = o.language(lang)
    from tiku.api import run
    from tiku.examination.plan import Plan

    plan = Plan(
        model=model, data=tuple(data), out=out, task=task, require=tuple(require or ()),
        columns=o.columns(text, text_pair, label, group, slices, label_map),
        minimize=minimize, maximize=maximize, budget=budget, minutes=minutes, seed=seed,
        threads=threads, device=device,
    )  # fmt: skip
    with watching(quiet) as watch:
        result = run(plan, language=language, watch=watch)
    if as_json:
        from tiku.report.schema import to_json

        print_json(to_json(result))
    else:
        from tiku.report.terminal import print_summary

        print_summary(result, language=language, folder=out)
    return 1 if result.decision == "do not ship" else 0
