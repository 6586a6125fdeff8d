"""`tiku doctor`: what this machine is, how noisy it is, and which extras are missing."""

from __future__ import annotations

import typer

from tiku.cli import _options as o
from tiku.cli._console import print_json

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", short_help="Look at this machine.")(doctor)


def doctor(lang: o.Lang = None, as_json: o.Json = False) -> None:
    """Show cores, instruction sets, memory, GPU, energy source, noise of an A/A run, and extras."""
    from tiku.measure.checkup import doctor as examine

    language = o.language(lang)
    report = examine()
    if as_json:
        print_json(report.to_json())
        return
    for line in report.lines(language):
        print(line)
