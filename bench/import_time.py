"""`import tiku` in a fresh interpreter, against the interpreter alone: no torch, under 150 ms."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

from bench._pairs import Row, alternate, limit_threads, run

_HEAVY = ("torch", "transformers", "numpy", "scipy")
_FOUND = f"[len(sys.modules), [m for m in {_HEAVY} if m in sys.modules]]"
_OURS = f"import json, sys, tiku; print(json.dumps({_FOUND}))"


def _process(source: str) -> str:
    return subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout


def _nothing_heavy(ours: str, peer: str) -> str:
    count, heavy = json.loads(ours)
    if heavy:
        raise AssertionError(f"import tiku imports {', '.join(heavy)}")
    return f"{count} modules, none of {', '.join(_HEAVY)}"


def rows(pairs: int) -> Iterator[Row]:
    """Whole processes, begin to end."""
    row = alternate(
        "import tiku, whole process (the peer: an interpreter that does nothing)",
        lambda: _process(_OURS),
        lambda: _process("pass"),
        _nothing_heavy,
        peer_package="numpy",  # replaced below: the peer is no package
        pairs=pairs,
    )
    added = f"the import itself adds {1000 * (row.ours - row.peer):.0f} ms; {row.same_work}"
    yield replace(row, peer_name="python -c pass", peer_version=platform.python_version(), same_work=added)


if __name__ == "__main__":
    limit_threads(1)
    run("import_time", rows, pairs=21)
