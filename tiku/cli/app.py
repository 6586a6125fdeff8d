"""`tiku`: the commands, and how an error reaches the user."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import typer

from tiku.cli import apply, ask, check, compare, doctor, exam, predict, questions, samples, verify
from tiku.cli._console import print_json, take_any_character, wants_json
from tiku.cli._usage import explain
from tiku.core.errors import TikuError, printable
from tiku.version import __version__

__all__ = ["app", "main"]

_INTERRUPTED = 130
_BROKEN_PIPE = 141  # 128 + SIGPIPE, as shells report it; 0 could open a gate
_FAILING = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
_REPORT = "run again with TIKU_DEBUG=1 and report the traceback"
# typer carries its own click, or uses the installed one: its parent of BadParameter is the right class.
_USAGE: type[Exception] = typer.BadParameter.__mro__[2]

_EPILOG = (
    "Begin with: tiku exam sample:minilm --data sample:movie-reviews\n\n"
    "Exit codes: 0 ok, 1 a requirement failed, 2 usage or bad input, 3 could not measure, 130 interrupted."
)

app = typer.Typer(
    name="tiku",
    help="The ten questions every large model must face before it ships, answered by measuring. 题库",
    epilog=_EPILOG,
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
    input, 3 could not measure, 130 interrupted, 141 when the reader of the output has gone."""
    take_any_character()
    try:
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:
        code = _abandoned()
    sys.exit(code)


def _run() -> int:
    try:
        return _call(sys.argv[1:])
    except TikuError as error:
        return _tell(error.parts(), error.exit_code)
    except typer.Exit as stop:
        return stop.exit_code
    except _USAGE as error:
        return _tell_usage(error)
    except (KeyboardInterrupt, typer.Abort):
        return _tell({"what": "interrupted", "next": "run the same command again: it goes on"}, _INTERRUPTED)
    except BrokenPipeError:
        raise
    except OSError as error:  # a path too long, a folder that may not be searched, a disk that fails
        return _tell(_of_system(error).parts(), 3 if error.errno in _FAILING else 2)
    except Exception as error:  # a defect of tiku itself: say so without a wall of text
        if os.environ.get("TIKU_DEBUG"):
            traceback.print_exc()
        what = f"an error inside tiku: {type(error).__name__}: {error}"
        return _tell({"what": printable(what), "next": _REPORT}, 3)


def _of_system(error: OSError) -> TikuError:
    return TikuError(
        f"the system refused to read or write: {error.strerror or error}",
        got=error.filename or type(error).__name__,
        next_step="check the path, its permissions and the free space",
    )


def _call(words: list[str]) -> int:
    """The command's own code. typer's `main` would end an interrupt and a broken pipe by itself."""
    command = typer.main.get_command(app)
    with command.make_context("tiku", words) as context:
        code = command.invoke(context)
    return code if isinstance(code, int) else 0


def _abandoned() -> int:
    """Point what can no longer be written at nothing, so that Python's own last flush is silent."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return _BROKEN_PIPE


def _tell(parts: Mapping[str, str], code: int) -> int:
    if wants_json():
        print_json({"error": parts, "exit_code": code})
    for name, text in parts.items():
        label = "error" if name == "what" else f"  {name}"
        print(f"{label}: {text}", file=sys.stderr)
    return code


def _tell_usage(error: Any) -> int:
    if type(error).__name__ == "NoArgsIsHelpError" or len(sys.argv) < 2:
        print(error.format_message(), file=sys.stderr)
        return 2
    return _tell(explain(error, sys.argv[1:]).parts(), 2)
