"""Peers whose dependencies are many live in an environment of their own, made on first use."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["enter", "interpreter"]

_ROOT = Path(__file__).resolve().parent.parent
_FOLDER = _ROOT / ".bench-venv"
_TORCH = "torch==2.13.0"  # first and pinned, as in the Makefile: any other order may pull another build


def enter(bench: str, module: str, packages: Sequence[str]) -> None:
    """Go on in `.bench-venv`, with `packages` and tiku installed, unless `module` can be imported here.

    Replaces this process: what follows runs in the environment's own interpreter.
    """
    if importlib.util.find_spec(module) is not None:
        return
    python = _FOLDER / "bin" / "python"
    if not _has(python, module):
        _make(python, packages)
    os.execv(python, [str(python), "-m", f"bench.{bench}", *sys.argv[1:]])


def interpreter(name: str, module: str, packages: Sequence[str], *, with_torch: bool = False) -> Path:
    """The interpreter of `.bench-venv-NAME`, which holds `packages` and not tiku.

    For a peer that runs beside this process. One with torch chooses the releases that it needs beside it:
    they may be older than tiku's.
    """
    folder = _ROOT / f"{_FOLDER.name}-{name}"
    python = folder / "bin" / "python"
    if not _has(python, module):
        if with_torch:
            _install(python, [[_TORCH]])
        _install(python, [packages], pinned=not with_torch)
    return python


def _has(python: Path, module: str) -> bool:
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return python.exists() and subprocess.run([python, "-c", code], check=False).returncode == 0


def _make(python: Path, packages: Sequence[str]) -> None:
    _install(python, [[_TORCH], ["-e", str(_ROOT)], packages])


def _install(python: Path, in_turn: Sequence[Sequence[str]], *, pinned: bool = True) -> None:
    """Make the environment where there is none, and install into it one list after the other; `pinned` to
    the releases that tiku is tested with."""
    folder = python.parent.parent
    print(f"making {folder.name} for {', '.join(in_turn[-1])}", file=sys.stderr)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for wanted in in_turn:
        command = [*pip, *(("-c", str(_ROOT / "constraints.txt")) if pinned else ()), *wanted]
        subprocess.run(command, check=True, stdout=sys.stderr)
