"""`python -m bench [NAME …]`: runs the comparisons one after the other, rewrites docs/performance.md.

Each runs in a process of its own, so that its thread limit holds. What ran before and is not run now
keeps its table: the page is put together from docs/performance.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
_DOCS = _HERE.parent / "docs"
_STORE, _PAGE = _DOCS / "performance.json", _DOCS / "performance.md"

_HEAD = """\
# Performance

Measured by `make bench`: ours and the peer take turns in one run, on the same work with the same
threads, and the agreement of their outputs is checked. A ratio over 1 means that tiku is better; the
bracket is its 95 % interval over the pairs. This page is written by the benches; do not edit it.
"""


def names() -> list[str]:
    """Every bench module."""
    return sorted(path.stem for path in _HERE.glob("*.py") if not path.stem.startswith("_"))


def page(results: dict[str, dict[str, Any]]) -> str:
    """The Markdown of all results."""
    return "\n".join([_HEAD, *(_section(results[name]) for name in sorted(results))])


def _section(result: dict[str, Any]) -> str:
    lines = [
        f"## {result['bench']}", "",
        f"`python -m bench.{result['bench']}` · {result['machine']} · {result.get('date', 'no date')}", "",
        "| case | ours | peer | ratio | same work |", "|---|---|---|---|---|",
    ]  # fmt: skip
    return "\n".join([*lines, *(_row(row) for row in result["rows"]), ""])


def _row(row: dict[str, Any]) -> str:
    span = "" if row["low"] is None else f" [{row['low']:.3g}, {row['high']:.3g}]"
    peer = f"{row['peer']:.4g} {row['unit']} ({row['peer_name']} {row['peer_version']})"
    cells = [row["case"], f"{row['ours']:.4g} {row['unit']}", peer, f"**{row['ratio']:.3g}**{span}"]
    return "| " + " | ".join([*cells, f"{row['same_work']}; {row['pairs']} pairs"]) + " |"


def _measure(name: str) -> dict[str, Any] | None:
    print(f"bench.{name}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", f"bench.{name}", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=_HERE.parent, check=False)
    if done.returncode:
        print(f"bench.{name} failed with exit code {done.returncode}", file=sys.stderr)
        return None
    found: dict[str, Any] = json.loads(done.stdout)
    return {**found, "date": time.strftime("%Y-%m-%d")}


def main(wanted: list[str]) -> int:
    """Run; the exit code says whether every bench gave its figures."""
    unknown = sorted(set(wanted) - set(names()))
    if unknown:
        print(f"no such bench: {', '.join(unknown)}; there are {', '.join(names())}", file=sys.stderr)
        return 2
    results = json.loads(_STORE.read_text(encoding="utf-8")) if _STORE.exists() else {}
    failed = 0
    for name in wanted or names():
        found = _measure(name)
        failed += found is None
        if found is not None:
            results[name] = found
            _STORE.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            _PAGE.write_text(page(results), encoding="utf-8")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
