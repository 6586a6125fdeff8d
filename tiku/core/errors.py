"""Every error tiku raises on purpose.

::

    TikuError                     exit code 3
    ├── BadInput                  exit code 2: what the user gave cannot be used
    │   ├── DataError             a file, a column, a label, a text
    │   ├── ModelError            a folder, weights, a processor
    │   ├── RequirementError      a requirement or a unit
    │   ├── RecipeError           a recipe, a method's config
    │   ├── UnknownName           a name that no registry holds (did you mean …)
    │   ├── ArtefactError         an artefact or a result file
    │   └── MissingExtra          an optional package that is not installed
    ├── CannotMeasure             exit code 3: the instrument could not give a number
    │   └── TooNoisy              the A/A control was off by more than allowed
    └── OutOfSpace                exit code 3: the disk refused a write

A refusal ("not supported because …") is not an error: it is a `Support` value.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable

__all__ = [
    "ArtefactError",
    "BadInput",
    "CannotMeasure",
    "DataError",
    "MissingExtra",
    "ModelError",
    "OutOfSpace",
    "RecipeError",
    "RequirementError",
    "TikuError",
    "TooNoisy",
    "UnknownName",
    "printable",
]

_SHOWN = 200  # a message quotes at most this many characters of what it was given
_LISTED = 1200  # and of what is allowed: thousands of column names help nobody


class TikuError(Exception):
    """An error with the four parts a reader can act on.

    Parameters: `what` went wrong, the value it `got`, what is `allowed`, and the `next_step`. Each is
    kept as one printable line: file names and column names may hold anything, also terminal codes.
    """

    exit_code = 3

    def __init__(
        self,
        what: str,
        *,
        got: object = None,
        allowed: str | Iterable[str] | None = None,
        next_step: str | None = None,
    ) -> None:
        listed = allowed if allowed is None or isinstance(allowed, str) else ", ".join(allowed)
        self.what = printable(what)
        self.got = None if got is None else _shorten(_spelled(got), _SHOWN)
        self.allowed = None if listed is None else _shorten(listed, _LISTED)
        self.next_step = None if next_step is None else printable(next_step)
        super().__init__(self.what)

    def parts(self) -> dict[str, str]:
        """The parts that are set, by name, in reading order."""
        named = {"what": self.what, "got": self.got, "allowed": self.allowed, "next": self.next_step}
        return {name: text for name, text in named.items() if text}

    def __str__(self) -> str:
        return "\n".join(f"{name}: {text}" for name, text in self.parts().items())

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.got, self.allowed, self.next_step))


def _rebuild(
    kind: type[TikuError], what: str, got: object, allowed: str | None, next_step: str | None
) -> TikuError:
    return kind(what, got=got, allowed=allowed, next_step=next_step)


def printable(text: str) -> str:
    """The text on one line, every character that a terminal would obey or cannot show escaped."""
    kept = "\u3000"  # the space of Chinese text
    return "".join(c if c.isprintable() or c == kept else repr(c)[1:-1] for c in text)


def _spelled(got: object) -> str:
    """A nested value without going all the way down: a few lines of YAML can stand for gigabytes."""
    if not isinstance(got, list | tuple | dict | set):
        return str(got)
    brief = reprlib.Repr()
    brief.maxlevel, brief.maxlist, brief.maxtuple, brief.maxdict, brief.maxset = 3, 12, 12, 12, 12
    brief.maxstring = brief.maxother = _SHOWN
    return brief.repr(got)


def _shorten(text: str, most: int) -> str:
    return printable(text) if len(text) <= most else printable(text[: most + 1])[:most] + "…"


class BadInput(TikuError):
    """What the user gave cannot be used."""

    exit_code = 2


class DataError(BadInput):
    """A data file, column, label or text cannot be used."""


class ModelError(BadInput):
    """A model folder, its weights or its processor cannot be used."""


class RequirementError(BadInput):
    """A requirement or a quantity does not parse or does not apply."""


class RecipeError(BadInput):
    """A recipe or a method's config is not valid."""


class UnknownName(BadInput):
    """A name that the registry does not hold."""


class ArtefactError(BadInput):
    """An artefact folder or a result file is damaged or of another schema."""


class MissingExtra(BadInput):
    """An optional package is needed and not installed."""


class CannotMeasure(TikuError):
    """An instrument could not give a number."""


class TooNoisy(CannotMeasure):
    """The A/A control moved by more than the protocol allows."""


class OutOfSpace(TikuError):
    """The disk or the folder refused a write."""
