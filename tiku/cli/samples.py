"""`tiku samples`: the models and data that need no preparation."""

from __future__ import annotations

import typer

from tiku.cli import _options as o
from tiku.cli._console import print_json

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("samples", short_help="List the models and data to start with.")(samples)


def samples(lang: o.Lang = None, as_json: o.Json = False) -> None:
    """List the samples with licence and provenance. Use one as sample:NAME."""
    from tiku.core import registry

    language = o.language(lang)
    rows = []
    for name in registry.names("samples"):
        sample = registry.get("samples", name)
        rows.append(
            {"name": name, "kind": sample.kind, "title": sample.title[language],
             "licence": sample.licence, "provenance": sample.provenance[language]}
        )  # fmt: skip
    if as_json:
        print_json(rows)
        return
    for row in rows:
        print(f"sample:{row['name']:<24} {row['kind']:<6} {row['title']}")
        print(f"{'':<31} {row['licence']} · {row['provenance']}")
