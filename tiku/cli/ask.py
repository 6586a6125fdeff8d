"""`tiku ask QUESTION MODEL --data DATA …`: one question alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tiku.cli import _options as o
from tiku.cli._console import print_json, watching

__all__ = ["register"]

_QUESTION = "A question's id or number: `tiku questions` lists them."
_Question = Annotated[str, typer.Argument(help=_QUESTION, metavar="QUESTION")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("ask", short_help="Answer one question.")(o.takes_plan_options(ask))


def ask(
    question: _Question,
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
    """Measure one question's methods on a model and data, and answer it. Shares the exam's folder."""
    language = o.language(lang)
    from tiku.api import run_questions
    from tiku.bank.questions import load
    from tiku.examination.plan import Plan

    id = load(question, "en").id
    plan = Plan(
        **given, out=out, require=tuple(require or ()), minimize=minimize, maximize=maximize,
        minutes=minutes, questions=(id,), search=False,
    )  # fmt: skip
    with watching(quiet, language) as watch:
        result = run_questions(plan, watch=watch)
    if as_json:
        from tiku.report.schema import to_json

        print_json(to_json(result))
    else:
        from tiku.report.terminal import print_answer

        print_answer(result, id, language=language)
    return 1 if result.questions[id].verdict == "fail" else 0
