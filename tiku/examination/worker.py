"""The child process of one trial: build the recipe, measure it against the base, write the outcome."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tiku.core.errors import TikuError
from tiku.core.result import Cost, Status, Trial
from tiku.core.text import Text
from tiku.examination.building import Refused, build
from tiku.examination.inputs import Inputs, load_inputs
from tiku.examination.ledger import Busy, Ledger, TrialFolder, TrialSpec
from tiku.examination.measuring import Findings, measure_trial

__all__ = ["EXIT_BUSY", "run"]

EXIT_BUSY = 75  # another process works on this trial (EX_TEMPFAIL)
_BEAT_SECONDS = 5.0
_EVENT_SECONDS = 0.3


def run(path: Path) -> int:
    """Work on the trial in this folder; the exit code."""
    folder = TrialFolder(path)
    try:
        with folder.lease(), _heartbeat(folder):
            if folder.result() is None:
                folder.event("started")
                trial = _outcome(folder)
                folder.write_result(trial)
                folder.event("done", status=trial.status)
    except Busy:
        return EXIT_BUSY
    return 0


def _outcome(folder: TrialFolder) -> Trial:
    spec, started = folder.spec(), time.monotonic()
    status: Status = "done"
    reason, findings = None, Findings()
    try:
        findings = _build_and_measure(folder, spec)
    except Refused as refusal:
        status, reason = "refused", refusal.reason
    except MemoryError as error:
        status, reason = "out of memory", _plain(error)
    except TikuError as error:
        traceback.print_exc()
        status, reason = "failed", _plain(error)
    except Exception as error:  # a method of a third party may raise anything; the trial records it
        traceback.print_exc()
        status, reason = ("out of memory" if _is_memory(error) else "failed"), _plain(error)
    cost = Cost(time.monotonic() - started, findings.joules, _peak_bytes())
    return Trial(
        spec.id, spec.parent, spec.recipe, status, reason,
        findings.metrics, findings.against_base, findings.details, findings.warnings, cost,
    )  # fmt: skip


def _build_and_measure(folder: TrialFolder, spec: TrialSpec) -> Findings:
    ledger = Ledger(folder.path.parent)
    inputs = load_inputs(spec.inputs)
    progress = _Reporter(folder)
    if spec.builds is None:
        progress.stage = "build"
        _build_once(folder, spec, inputs, ledger, progress)
    progress.stage = "measure"
    return measure_trial(folder, spec, inputs, ledger, progress)


def _build_once(
    folder: TrialFolder, spec: TrialSpec, inputs: Inputs, ledger: Ledger, progress: _Reporter
) -> None:
    # A worker killed while measuring leaves a whole build (it is renamed into place): reuse it.
    if not folder.build.exists():
        started = time.monotonic()
        build(spec, inputs, ledger, folder, progress)
        folder.event("built", seconds=time.monotonic() - started)


class _Reporter:
    """Turns progress calls into events, a few per second."""

    def __init__(self, folder: TrialFolder) -> None:
        self.stage = "build"
        self._folder = folder
        self._last = 0.0

    def __call__(self, done: float, total: float, note: str) -> None:
        now = time.monotonic()
        if now - self._last >= _EVENT_SECONDS or done >= total:
            self._last = now
            self._folder.event("progress", stage=self.stage, done=done, total=total, note=note)


@contextmanager
def _heartbeat(folder: TrialFolder) -> Iterator[None]:
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(_BEAT_SECONDS):
            try:
                folder.beat()
            except FileNotFoundError:
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _plain(error: BaseException) -> Text:
    text = (
        "; ".join(error.parts().values())
        if isinstance(error, TikuError)
        else f"{type(error).__name__}: {error}"
    )
    short = text if len(text) <= 500 else text[:500] + "…"
    return Text(short, short)


def _is_memory(error: Exception) -> bool:
    return "out of memory" in str(error).lower() or "can't allocate memory" in str(error).lower()


def _peak_bytes() -> int:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
