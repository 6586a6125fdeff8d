"""`tiku check result.json [--gate tiku.toml]`: requirements as a CI gate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiku.cli import _options as o
from tiku.cli._console import print_json

__all__ = ["register"]

_RESULT = "A result.json, or the folder that holds it."
_GATE = (
    'A TOML file with a table [gate]: require = ["accuracy >= 0.9"], questions = ["inference"], '
    'decision = "ship" or "any".'
)
_Result = Annotated[Path, typer.Argument(help=_RESULT, metavar="RESULT")]
_Gate = Annotated[Path | None, typer.Option("--gate", help=_GATE, metavar="FILE")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check", short_help="Gate on a result: exit 1 unless all is met.")(check)


def check(result: _Result, gate: _Gate = None, lang: o.Lang = None, as_json: o.Json = False) -> int:
    """Exit with 0 only when every requirement is met and the decision is SHIP.

    1: something is missed. 3: something was not measured or cannot be told; the gate stays closed.
    """
    from tiku.report import check as gates
    from tiku.report.schema import read_result

    language = o.language(lang)
    outcome = gates.check(read_result(result), gate)
    if as_json:
        print_json(outcome.to_json())
    else:
        gates.print_outcome(outcome, language=language)
    return outcome.exit_code
