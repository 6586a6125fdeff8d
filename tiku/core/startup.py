"""The environment that a process must be started with for some settings to act, and whether it was.

The loader and the C library read these variables once, before Python runs: setting them later changes
nothing. So what counts is the environment a process began with, and the libraries it has mapped.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from tiku.core.errors import CannotMeasure

__all__ = ["PRELOAD", "exports", "idle_here", "insist", "started_environment", "unsafe"]

PRELOAD = "LD_PRELOAD"
_NUMBER = re.compile(r"[0-9]{1,18}")
_HARMLESS = {  # what an artefact of a stranger may ask for: nothing here can bring code of its own
    PRELOAD: re.compile(r"lib[A-Za-z0-9_+-]+\.so(\.[0-9]+)*"),  # no folder: the loader's own are searched
    "MALLOC_ARENA_MAX": _NUMBER,
    "MALLOC_MMAP_THRESHOLD_": _NUMBER,
    "MALLOC_TRIM_THRESHOLD_": _NUMBER,
}
_PROCESS = Path("/proc/self")


def started_environment(
    wanted: Mapping[str, str], present: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment to start a process with: the present one and what is wanted, preloads joined."""
    merged = {**(os.environ if present is None else present)}
    for name, value in wanted.items():
        before = merged.get(name, "")
        if name == PRELOAD and before:
            kept = [one for one in before.replace(" ", ":").split(":") if one and one != value]
            merged[name] = ":".join([value, *kept])
        else:
            merged[name] = value
    return merged


def idle_here(wanted: Mapping[str, str]) -> list[str]:
    """The settings, as NAME=VALUE, that do not act in this process; empty where all do."""
    if not wanted:
        return []
    began = _began_with()
    return [f"{name}={value}" for name, value in wanted.items() if not _acts(name, value, began)]


def unsafe(wanted: Mapping[str, str]) -> list[str]:
    """The settings, as NAME=VALUE, that could run code of their author; empty where none could."""
    allowed = {name: pattern.fullmatch(str(wanted.get(name))) for name, pattern in _HARMLESS.items()}
    return [f"{name}={value}" for name, value in wanted.items() if not allowed.get(name)]


def insist(wanted: Mapping[str, str]) -> None:
    """Raises `CannotMeasure` where a setting does not act: nothing would be measured."""
    if idle := idle_here(wanted):
        raise CannotMeasure(
            "settings that a process must be started with do not act in it",
            got=", ".join(idle),
            allowed=exports(wanted).replace("\n", "; "),
            next_step="set them before the process starts, and see that the loader finds the library",
        )


def exports(wanted: Mapping[str, str]) -> str:
    """The shell lines that set them."""
    return "\n".join(f"export {name}={value}" for name, value in wanted.items())


def _acts(name: str, value: str, began: Mapping[str, str]) -> bool:
    if name == PRELOAD:
        return f"/{Path(value).name}" in _mapped()
    return began.get(name) == value


def _began_with() -> dict[str, str]:
    """As the kernel keeps it; empty where there is no /proc, so that nothing is believed to act."""
    try:
        raw = (_PROCESS / "environ").read_bytes()
    except OSError:
        return {}
    pairs = (entry.partition("=") for entry in raw.decode("utf-8", "surrogateescape").split("\0"))
    return {name: value for name, _, value in pairs if name}


def _mapped() -> str:
    try:
        return (_PROCESS / "maps").read_text("utf-8", "surrogateescape")
    except OSError:
        return ""
