"""`tiku compare A B`: two results side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiku.cli import _options as o
from tiku.cli._console import print_json

__all__ = ["register"]

_A = Annotated[Path, typer.Argument(help="A result.json, or the folder that holds it.", metavar="A")]
_B = Annotated[Path, typer.Argument(help="The result to compare with it.", metavar="B")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare", short_help="Put two results side by side.")(compare)


def compare(a: _A, b: _B, lang: o.Lang = None, as_json: o.Json = False) -> None:
    """Compare two exams, metric by metric, as far as their intervals allow."""
    from tiku.report import compare as comparing
    from tiku.report.schema import read_result

    language = o.language(lang)
    comparison = comparing.compare(read_result(a), read_result(b))
    if as_json:
        print_json(comparison.to_json())
    else:
        comparing.print_comparison(comparison, language=language)
