"""`tiku verify ARTEFACT`: is this folder whole, and does it still answer as it did?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiku.cli import _options as o
from tiku.cli._console import print_json

__all__ = ["register"]

_Artefact = Annotated[Path, typer.Argument(help="An artefact folder.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify", short_help="Prove that an artefact is whole.")(verify)


def verify(artefact: _Artefact, as_json: o.Json = False) -> int:
    """Check every hash, load the artefact in a fresh process without tiku, compare its outputs."""
    from tiku.artefact import verify as check

    report = check(artefact)
    values = report.to_json()
    if as_json:
        print_json(values)
    else:
        for name, value in values.items():
            print(f"{name}: {value}")
    return 0 if values["ok"] else 1
