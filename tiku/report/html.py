"""The report as one HTML file: no script, no request to anywhere, both languages, light, dark and print."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiku.core.files import write_text
from tiku.core.instrument import all_metrics
from tiku.core.result import Result
from tiku.core.text import Language, Text
from tiku.report import numbers, words
from tiku.report.page import page_of
from tiku.report.plots.figure import Plot
from tiku.report.schema import to_json

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["render_report", "write_report"]

_RAW_SHOWN = 200_000  # characters of raw JSON in the page; the file beside it holds all


def render_report(result: Result, *, language: Language = "en") -> str:
    """The report; `language` is the one shown first, the other is a click away."""
    css = _stylesheet()
    return (
        _environment()
        .get_template("report.html")
        .render(
            page=page_of(result, all_metrics()),
            result=result,
            language=language,
            css=css,
            policy=_policy(css),
            raw=_raw(result),
            words=words,
            numbers=numbers,
        )
    )


def write_report(result: Result, path: Path, *, language: Language = "en") -> None:
    """Write the report whole or not at all. Raises `OutOfSpace`."""
    write_text(path, render_report(result, language=language))


@cache
def _stylesheet() -> str:
    parts = ("tokens.css", "layout.css", "parts.css", "plots.css", "modes.css")
    folder = files("tiku.report").joinpath("templates")
    return "\n".join(folder.joinpath(name).read_text("utf-8") for name in parts)


def _policy(css: str) -> str:
    """No script, no image, no font, no connection; one stylesheet, named by its hash."""
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("tiku.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"fact": _fact, "bytes": numbers.show_bytes, "moment": numbers.show_moment}
    kinds = {"text": Text, "shown": numbers.Shown, "plot": Plot}
    for name, kind in kinds.items():
        environment.tests[name] = lambda value, kind=kind: isinstance(value, kind)
    return environment


def _fact(value: Any) -> str:
    """Any JSON value on one line."""
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return " · ".join(f"{key} {_fact(v)}" for key, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_fact, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def _raw(result: Result) -> str:
    """The result without the instruments' long lists, which only `result.json` holds."""
    value = to_json(result)
    for trial in value["trials"]:
        trial.pop("details", None)
    if value["confirmation"]:
        value["confirmation"].pop("details", None)
    text = json.dumps(value, ensure_ascii=False, indent=1)
    return text if len(text) <= _RAW_SHOWN else text[:_RAW_SHOWN] + "\n…"
