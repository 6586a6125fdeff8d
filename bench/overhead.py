"""The exam's own overhead: its wall time against the seconds inside builds and measurements.

`python -m bench.overhead` runs the exam of `make exam` in a folder of its own (a quarter of an hour);
`--folder DIR` reads one that was run there at a stretch. Everything else is overhead: starting,
reading the data, looking at the model, starting processes, waiting, choosing, checking and writing.
"""

from __future__ import annotations

import argparse
import calendar
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench._pairs import Row, run

_EXAM = (
    "exam", "sample:minilm", "--data", "sample:movie-reviews", "--require", "accuracy >= 0.98 * base",
    "--require", "p95_latency <= 40 ms", "--minimize", "energy",
)  # fmt: skip


@dataclass(frozen=True)
class _Times:
    """Seconds of a run: in all, inside builds and measurements, before the first and after the last trial."""

    wall: float
    work: float
    before: float
    after: float
    trials: int

    def row(self, case: str) -> Row:
        """`ours` is the wall time, `peer` what the work alone would have taken."""
        from tiku import __version__

        between = self.wall - self.work - self.before - self.after
        told = (
            f"overhead {1 - self.work / self.wall:.2%}: {self.before:.1f} s before the first trial, "
            f"{between:.1f} s in and between {self.trials} trials, {self.after:.1f} s after the last"
        )
        return Row(
            case, self.wall, self.work, "builds and measurements alone", __version__, "s",
            self.work / self.wall, None, None, told, 1,
        )  # fmt: skip


def _events(out: Path) -> dict[str, list[dict[str, Any]]]:
    paths = sorted(out.glob("trials/*/events.jsonl"))
    return {p.parent.name: [json.loads(line) for line in p.read_text().splitlines()] for p in paths}


def _work(events: list[dict[str, Any]]) -> float:
    """Seconds of building and measuring; the whole of a trial that was refused or failed."""
    stages = [e["seconds"] for e in events if e["event"] in ("built", "measured")]
    times = [e["time"] for e in events if e["event"] in ("started", "done")]
    return float(sum(stages)) if stages else float(times[-1] - times[0])


def _times(out: Path, began: float, ended: float) -> _Times:
    found = _events(out)
    starts = [e["time"] for events in found.values() for e in events if e["event"] == "started"]
    dones = [e["time"] for events in found.values() for e in events if e["event"] == "done"]
    if min(starts) < began - 1 or len(starts) != len(found) or len(dones) != len(found):
        raise SystemExit(f"{out}: not the work of one uninterrupted run; give a folder that is")
    work = sum(map(_work, found.values()))
    return _Times(ended - began, work, min(starts) - began, ended - max(dones), len(found))


def _fresh(pairs: int) -> Iterator[Row]:
    """One exam: its overhead is far below what differs between two."""
    with tempfile.TemporaryDirectory(prefix="tiku-bench-") as folder:
        began = time.time()
        command = [sys.executable, "-c", "from tiku.cli import main; main()", *_EXAM, "--out", folder]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        if done.returncode not in (0, 1):  # 1: a requirement was missed, which is an answer too
            raise SystemExit(f"the exam ended with {done.returncode}")
        yield _times(Path(folder), began, time.time()).row("tiku " + " ".join(_EXAM))


def _read(out: Path, pairs: int) -> Iterator[Row]:
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    began = calendar.timegm(time.strptime(result["started"], "%Y-%m-%dT%H:%M:%SZ"))
    ended = (out / "report.html").stat().st_mtime
    yield _times(out, began, ended).row(result["plan"]["command"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--folder", type=Path)
    own, sys.argv[1:] = parser.parse_known_args()
    run("overhead", partial(_read, own.folder) if own.folder else _fresh, pairs=1)
