"""`tiku exam MODEL --data DATA …`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from tiku.cli import _options as o
from tiku.cli._console import print_json, watching

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("exam", short_help="Answer the ten questions, find and prove a recipe.")(
        o.takes_plan_options(exam)
    )


def exam(
    given: dict[str, Any],
    require: o.Require = None,
    minimize: o.Minimize = None,
    maximize: o.Maximize = None,
    minutes: o.Minutes = None,
    out: o.Out = Path("out/exam"),
    lang: o.Lang = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> int:
    """Answer the ten questions on a model and data, find the recipe that meets the requirements, prove it."""
    language = o.language(lang)
    from tiku.api import run
    from tiku.examination.plan import Plan

    plan = Plan(
        **given, out=out, require=tuple(require or ()), minimize=minimize, maximize=maximize, minutes=minutes
    )
    with watching(quiet, language) as watch:
        result = run(plan, language=language, watch=watch)
    if as_json:
        from tiku.report.schema import to_json

        print_json(to_json(result))
    else:
        from tiku.report.terminal import print_summary

        print_summary(result, language=language, folder=out)
    return 1 if result.decision == "do not ship" else 0
