"""Ours and the peer take turns on the same work with the same threads; the row says by how much.

A bench module calls `limit_threads` before it imports NumPy, builds its rows with `alternate`, and ends
in `run`. Nothing heavy is imported here at the top, so that the limit holds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TypeVar

__all__ = ["Row", "alternate", "limit_threads", "machine", "paired_row", "run"]

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

Ours = TypeVar("Ours")
Peer = TypeVar("Peer")


@dataclass(frozen=True)
class Row:
    """One comparison. `ours` and `peer` are medians in `unit`; `ratio` > 1 means tiku is better.

    `low … high` is the 95 % interval of the ratio over `pairs` turns (None with fewer than 6).
    `same_work` states the measured agreement of the outputs.
    """

    case: str
    ours: float
    peer: float
    peer_name: str
    peer_version: str
    unit: str
    ratio: float
    low: float | None
    high: float | None
    same_work: str
    pairs: int


def limit_threads(count: int) -> None:
    """Set every thread variable; refuses once NumPy or torch has started its own."""
    if {"numpy", "torch"} & set(sys.modules):
        raise RuntimeError("limit_threads must run before numpy or torch is imported")
    for name in _THREAD_VARIABLES:
        os.environ[name] = str(count)


def machine() -> str:
    """The processor, its cores, and the thread limit, in a line."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            model = next(
                (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model
            )
    except OSError:
        pass
    limit = os.environ.get("OMP_NUM_THREADS", "not limited")
    system = f"{platform.system()}, Python {platform.python_version()}"
    return f"{model}, {os.cpu_count()} cores, threads {limit}, {system}"


def _timed(work: Callable[[], Ours]) -> tuple[float, Ours]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def alternate(
    case: str,
    ours: Callable[[], Ours],
    peer: Callable[[], Peer],
    agree: Callable[[Ours, Peer], str],
    *,
    peer_package: str,
    pairs: int = 7,
    peer_scale: float = 1.0,
    warm_up: bool = True,
) -> Row:
    """Time `ours` and `peer` in turn, each pair in the other order than the last.

    `agree` looks at the outputs of the last pair and says how well they match; it raises where they do
    not. `peer_scale` > 1 when the peer runs a stated part of the work (say so in `case`): its time is
    multiplied by it.
    """
    if warm_up:
        ours()
        peer()
    mine: list[float] = []
    theirs: list[float] = []
    for turn in range(pairs):
        if turn % 2:
            peer_s, peer_result = _timed(peer)
            ours_s, ours_result = _timed(ours)
        else:
            ours_s, ours_result = _timed(ours)
            peer_s, peer_result = _timed(peer)
        mine.append(ours_s)
        theirs.append(peer_s * peer_scale)
        print(f"{case}: pair {turn + 1} of {pairs}", file=sys.stderr)
    agreement = agree(ours_result, peer_result)
    return paired_row(case, mine, theirs, agreement, peer_package=peer_package, unit="s")


def paired_row(
    case: str,
    ours: Sequence[float],
    peer: Sequence[float],
    same_work: str,
    *,
    peer_package: str,
    unit: str,
    higher_is_better: bool = False,
    peer_version: str | None = None,
) -> Row:
    """A row from paired measurements (n,) that another harness took in turns. `peer_version` is for peers
    that are not installed in this environment."""
    import numpy as np

    from tiku.measure.stats import paired_ratio

    worse, better = (peer, ours) if higher_is_better else (ours, peer)
    found = paired_ratio(worse, better)
    return Row(
        case=case,
        ours=float(np.median(ours)),
        peer=float(np.median(peer)),
        peer_name=peer_package,
        peer_version=peer_version or version(peer_package),
        unit=unit,
        ratio=found.value,
        low=found.low,
        high=found.high,
        same_work=same_work,
        pairs=len(ours),
    )


def _table(rows: Iterable[Row]) -> str:
    lines = []
    for row in rows:
        span = "" if row.low is None else f" ({row.low:.3g} … {row.high:.3g})"
        lines.append(
            f"{row.case}\n    ours {row.ours:.4g} {row.unit}, {row.peer_name} {row.peer_version}"
            f" {row.peer:.4g} {row.unit}, ratio {row.ratio:.3g}{span}, {row.pairs} pairs\n    {row.same_work}"
        )
    return "\n".join(lines)


def run(
    bench: str,
    rows: Callable[..., Iterable[Row]],
    *,
    pairs: int = 7,
    options: Mapping[str, str] | None = None,
) -> None:
    """Parse `--json` and `--pairs`, measure, print the object of DESIGN section 10 or a table.

    `options` are the bench's own, by name with their help; `rows` gets each as an argument, None where it
    was left out.
    """
    parser = argparse.ArgumentParser(prog=f"python -m bench.{bench}")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--pairs", type=int, default=pairs, help="turns per case (6 or more for an interval)")
    for name, text in (options or {}).items():
        parser.add_argument(f"--{name}", help=text)
    arguments = parser.parse_args()
    if arguments.pairs < 1:
        parser.error("--pairs must be 1 or more")
    found = list(rows(arguments.pairs, **{name: getattr(arguments, name) for name in options or {}}))
    if arguments.json:
        print(
            json.dumps(
                {"bench": bench, "machine": machine(), "rows": [asdict(row) for row in found]}, indent=1
            )
        )
    else:
        print(f"{machine()}\n{_table(found)}")
