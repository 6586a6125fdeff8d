"""`tiku`: the commands, and how an error reaches the user."""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any

import typer

from tiku.cli import apply, ask, check, compare, doctor, exam, predict, questions, samples, verify
from tiku.cli._console import wants_json
from tiku.core.errors import TikuError
from tiku.version import __version__

__all__ = ["app", "main"]

_INTERRUPTED = 130
# typer carries its own click, or uses the installed one: its parent of BadParameter is the right class.
_USAGE: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="tiku",
    help="The ten questions every large model must face before it ships, answered by measuring. 题库",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _module in (exam, ask, questions, check, compare, predict, verify, apply, samples, doctor):
    _module.register(app)


@app.callback(invoke_without_command=False)
def _root(
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=lambda v: _show_version(v), help="Show the version."
    ),
) -> None:
    """Examine a model, read the report, gate on it."""


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line and exit with its code: 0 ok, 1 a requirement failed, 2 usage or bad
    input, 3 could not measure, 130 interrupted."""
    sys.exit(_run())


def _run() -> int:
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except TikuError as error:
        return _tell(error.parts(), error.exit_code)
    except typer.Exit as stop:
        return stop.exit_code
    except _USAGE as error:
        return _tell_usage(error)
    except (KeyboardInterrupt, typer.Abort):
        return _tell({"what": "interrupted", "next": "run the same command again: it goes on"}, _INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader of stdout has gone
        return 0
    except Exception as error:  # a defect of tiku itself: say so without a wall of text
        if os.environ.get("TIKU_DEBUG"):
            traceback.print_exc()
        what = f"an error inside tiku: {type(error).__name__}: {error}"
        return _tell({"what": what, "next": "run again with TIKU_DEBUG=1 and report the traceback"}, 3)


def _tell(parts: dict[str, str], code: int) -> int:
    if wants_json():
        print(json.dumps({"error": parts, "exit_code": code}, ensure_ascii=False))
    for name, text in parts.items():
        label = "error" if name == "what" else f"  {name}"
        print(f"{label}: {text}", file=sys.stderr)
    return code


def _tell_usage(error: Any) -> int:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "tiku"
    message = " ".join(error.format_message().split())
    return _tell({"what": message, "next": f"{command} --help"}, 2)
