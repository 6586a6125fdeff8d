"""Mistakes on the command line, in the four parts of every other error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tiku.core.errors import BadInput
from tiku.core.registry import closest

__all__ = ["explain"]


def explain(error: Any, words: Sequence[str]) -> BadInput:
    """What typer's usage error says, as tiku says it. `words` are the arguments as they were given."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else _command(words)
    if hasattr(error, "option_name") and hasattr(error, "possibilities"):
        return _no_such_option(error.option_name, command, context)
    if error.message.startswith("No such command"):
        return _no_such_command(words, context)
    param = getattr(error, "param", None)
    if param is None:
        what, got = " ".join(error.format_message().split()), " ".join(words)
        return BadInput(what, got=got or "no arguments", next_step=f"{command} --help")
    if type(error).__name__ == "MissingParameter":
        help = getattr(param, "help", None) or f"a value for {_name(param)}"
        return BadInput(f"{command} needs {_name(param)}", allowed=help, next_step=f"{command} --help")
    return BadInput(
        f"{_name(param)} cannot take this value: {error.message}",
        got=_given(param, words),
        next_step=f"{command} --help",
    )


def _command(words: Sequence[str]) -> str:
    """What the user wanted to call, where typer does not say."""
    return f"tiku {words[0]}" if words and not words[0].startswith("-") else "tiku"


def _no_such_option(name: str, command: str, context: Any) -> BadInput:
    known = [opt for p in context.command.get_params(context) for opt in p.opts if opt.startswith("--")]
    return BadInput(
        f"{command} has no such option",
        got=name,
        allowed=known,
        next_step=closest(name, known) or f"{command} --help",
    )


def _no_such_command(words: Sequence[str], context: Any) -> BadInput:
    known = list(context.command.commands)
    name = next((word for word in words if not word.startswith("-")), "")
    return BadInput(
        "there is no such command",
        got=name,
        allowed=known,
        next_step=closest(name, known) or "tiku --help",
    )


def _name(param: Any) -> str:
    """MODEL for an argument, --data for an option."""
    longest: str = max(param.opts, key=len)
    return longest if longest.startswith("-") else longest.upper()


def _given(param: Any, words: Sequence[str]) -> str:
    """The value as it was written, where it stands behind its option."""
    for i, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option in param.opts:
            return value if equals else " ".join(words[i + 1 : i + 2])
    return " ".join(words)
