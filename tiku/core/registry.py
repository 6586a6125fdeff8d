"""One lazy registry for everything that can be added: methods, metrics, models, runtimes, …

A built-in is found by its file: every public module below the group's package is one entry, and
the module holds one object under the group's attribute (`METHOD`, `INSTRUMENT`, `FAMILY`,
`RUNTIME`, `QUESTION`, `SAMPLE`, `READER`). So adding a method is adding a file. Listing names reads file
names only; nothing is imported before `get`. Third parties add entries through entry points
("package.module:attr") in the groups `tiku.methods`, `tiku.metrics`, `tiku.models`,
`tiku.runtimes`, `tiku.questions`, `tiku.samples`, `tiku.readers`.
"""

from __future__ import annotations

import difflib
import importlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from tiku.core.errors import UnknownName

__all__ = ["GROUPS", "Group", "closest", "get", "names", "target"]

_ROOT = Path(__file__).resolve().parent.parent
_ORDER_PREFIX = re.compile(r"^q\d\d_")  # q05_inference.py is the entry "inference"


@dataclass(frozen=True)
class Group:
    """Where the built-in entries of one kind live and what the object is called there."""

    package: str
    attribute: str
    noun: str


GROUPS: dict[str, Group] = {
    "methods": Group("tiku.methods", "METHOD", "method"),
    "metrics": Group("tiku.measure.instruments", "INSTRUMENT", "instrument"),
    "models": Group("tiku.models", "FAMILY", "model family"),
    "runtimes": Group("tiku.runtimes", "RUNTIME", "runtime"),
    "questions": Group("tiku.questions", "QUESTION", "question"),
    "samples": Group("tiku.data.samples", "SAMPLE", "sample"),
    "readers": Group("tiku.data.readers", "READER", "data reader"),
}


@cache
def _targets(group: str) -> dict[str, str]:
    """Entry name -> "module:attr", in the order of the file names; entry points come last."""
    spec = GROUPS[group]
    folder = _ROOT.joinpath(*spec.package.split(".")[1:])
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if any(part.startswith("_") for part in parts):
            continue
        name = _ORDER_PREFIX.sub("", parts[-1]).replace("_", "-")
        if name in found:
            raise ValueError(f"two files give the {spec.noun} {name!r}: {found[name]} and {path}")
        found[name] = f"{spec.package}.{'.'.join(parts)}:{spec.attribute}"
    for point in entry_points(group=f"tiku.{group}"):
        if point.name in found:
            raise ValueError(f"the entry point {point.value} reuses the {spec.noun} name {point.name!r}")
        found[point.name] = point.value
    return found


def names(group: str) -> tuple[str, ...]:
    """The names in a group, without importing any of them."""
    return tuple(_targets(group))


def target(group: str, name: str) -> str:
    """The "module:attr" behind a name. Raises `UnknownName` with the nearest names."""
    targets = _targets(group)
    if name not in targets:
        noun = GROUPS[group].noun
        raise UnknownName(
            f"there is no {noun} of this name",
            got=name,
            allowed=targets,
            next_step=closest(name, targets) or f"choose one of the {noun} names above",
        )
    return targets[name]


def get(group: str, name: str) -> Any:
    """Import and return the object behind a name."""
    module, _, attribute = target(group, name).partition(":")
    return getattr(importlib.import_module(module), attribute)


def closest(name: str, allowed: object) -> str | None:
    """ "did you mean …" for a mistyped name, or None when nothing is near. Case does not count."""
    spelled = {str(a).lower(): str(a) for a in allowed}  # type: ignore[attr-defined]
    near = difflib.get_close_matches(name.lower(), spelled, n=2, cutoff=0.6)
    return f"did you mean {' or '.join(spelled[n] for n in near)}?" if near else None
