"""`tiku questions [N]`: the ten questions and their written answers."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tiku.cli import _options as o
from tiku.cli._console import print_json
from tiku.report.streams import styled

__all__ = ["register"]

_WHICH = "A number (1 … 10) or an id; none lists all."
_Which = Annotated[str | None, typer.Argument(help=_WHICH, metavar="QUESTION")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("questions", short_help="Read the ten questions and their answers.")(questions)


def questions(which: _Which = None, lang: o.Lang = None, as_json: o.Json = False) -> None:
    """Read the ten questions, or one with its methods, numbers and sources."""
    from tiku.bank.questions import all_questions, availability, load
    from tiku.core import registry
    from tiku.core.instrument import all_metrics

    language = o.language(lang)
    if which is None:
        found = all_questions(language)
        if as_json:
            print_json([{"number": q.number, "id": q.id, "title": q.title} for q in found])
            return
        for question in found:
            print(f"{question.number:>2}  {question.id:<16} {question.title}")
        return
    question = load(which, language)
    if as_json:
        print_json(question)
        return
    built = (*registry.names("methods"), *all_metrics(), "confusion-matrix", "slices")
    parts = [f"# {question.number}. {question.title}"]
    parts += [f"## {section.heading}\n\n{section.markdown}" for section in question.sections]
    _show("\n\n".join([*parts, availability(question, built)[language]]))


def _show(markdown: str) -> None:
    if not styled(sys.stdout):
        print(markdown)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(markdown))
