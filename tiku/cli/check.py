"""`tiku check result.json [--gate tiku.toml]`: requirements as a CI gate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiku.cli import _options as o
from tiku.cli._console import print_json

__all__ = ["register"]

_Result = Annotated[
    Path, typer.Argument(help="A result.json, or the folder that holds it.", metavar="RESULT")
]
_Gate = Annotated[
    Path | None, typer.Option("--gate", help="A TOML file with a [gate] table.", metavar="FILE")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check", short_help="Gate on a result: exit 1 unless all is met.")(check)


def check(result: _Result, gate: _Gate = None, lang: o.Lang = None, as_json: o.Json = False) -> int:
    """Fail (exit 1) unless every requirement is met; what was not measured counts as failed."""
    from tiku.report import check as gates
    from tiku.report.schema import read_result

    language = o.language(lang)
    outcome = gates.check(read_result(result), gate)
    if as_json:
        print_json(outcome.to_json())
    else:
        gates.print_outcome(outcome, language=language)
    return outcome.exit_code
