"""The child process of one trial: build the recipe, measure it against the base, write the outcome."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tiku.core.errors import TikuError
from tiku.core.files import refused_by_disk
from tiku.core.result import Cost, Status, Trial
from tiku.core.text import Text
from tiku.examination.building import Refused, build
from tiku.examination.inputs import Inputs, load_inputs
from tiku.examination.integrity import build_damage
from tiku.examination.ledger import Busy, Ledger, TrialFolder, TrialSpec
from tiku.examination.measuring import Findings, measure_trial
from tiku.examination.standing import installed

__all__ = ["EXIT_BUSY", "EXIT_DISK", "installed", "run"]

EXIT_BUSY = 75  # another process works on this trial (EX_TEMPFAIL)
EXIT_DISK = 74  # the disk refused a write: nothing was found out about the trial (EX_IOERR)
_BEAT_SECONDS = 5.0
_EVENT_SECONDS = 0.3
_BURST = 10  # notes that may follow each other faster


def run(path: Path, inputs: Inputs | None = None) -> int:
    """Work on the trial in this folder; the exit code. `inputs` are the loaded data, if at hand."""
    folder = TrialFolder(path)
    try:
        with folder.lease(), _heartbeat(folder):
            if folder.result() is None:
                _work(folder, inputs)
    except Busy:
        return EXIT_BUSY
    except Exception as error:
        if not refused_by_disk(error, folder.path):
            raise
        _print_trace()
        return EXIT_DISK
    return 0


def _work(folder: TrialFolder, inputs: Inputs | None) -> None:
    for rubbish in (*folder.path.glob(".build.*"), *folder.path.glob(".result.json.*")):
        shutil.rmtree(rubbish) if rubbish.is_dir() else rubbish.unlink()  # of a killed worker
    available = int(psutil.virtual_memory().available)
    folder.event("started", installed=installed(), available=available)
    trial = _outcome(folder, inputs)
    folder.write_result(trial)
    folder.event("done", status=trial.status)
    shutil.rmtree(folder.path / "work", ignore_errors=True)


def _outcome(folder: TrialFolder, inputs: Inputs | None) -> Trial:
    spec, started = folder.spec(), time.monotonic()
    status: Status = "done"
    reason, findings = None, Findings()
    try:
        findings = _build_and_measure(folder, spec, inputs)
    except Refused as refusal:
        status, reason = "refused", refusal.reason
    except MemoryError as error:
        status, reason = "out of memory", _plain(error)
    except Exception as error:  # a method of a third party may raise anything; the trial records it
        if refused_by_disk(error, folder.path):
            raise
        _print_trace()
        status, reason = ("out of memory" if _is_memory(error) else "failed"), _plain(error)
    cost = Cost(time.monotonic() - started, findings.joules, _peak_bytes())
    return Trial(
        spec.id, spec.parent, spec.recipe, status, reason,
        findings.metrics, findings.against_base, findings.details, findings.warnings, cost,
    )  # fmt: skip


def _print_trace() -> None:
    with contextlib.suppress(OSError):  # log.txt lies on the disk that may be full
        traceback.print_exc()
        sys.stderr.flush()


def _build_and_measure(folder: TrialFolder, spec: TrialSpec, inputs: Inputs | None) -> Findings:
    ledger = Ledger(folder.path.parent)
    inputs = inputs or load_inputs(spec.inputs)
    progress = _Reporter(folder)
    if spec.builds is None:
        progress.stage = "build"
        _build_once(folder, spec, inputs, ledger, progress)
    progress.stage = "measure"
    started = time.monotonic()
    findings = measure_trial(folder, spec, inputs, ledger, progress)
    folder.event("measured", seconds=time.monotonic() - started)
    return findings


def _build_once(
    folder: TrialFolder, spec: TrialSpec, inputs: Inputs, ledger: Ledger, progress: _Reporter
) -> None:
    # A worker killed while measuring leaves a whole build (it is renamed into place): reuse it.
    if folder.build.exists() and (found := build_damage(folder)):
        folder.event("damaged", what=found)
        folder.forget(build=True)
    if not folder.build.exists():
        started = time.monotonic()
        build(spec, inputs, ledger, folder, progress)
        folder.event("built", seconds=time.monotonic() - started)


class _Reporter:
    """Turns progress calls into events: a few per second, and new notes at once while they are few."""

    def __init__(self, folder: TrialFolder) -> None:
        self.stage = "build"
        self._folder = folder
        self._last = 0.0
        self._note = ""
        self._spare = float(_BURST)

    def __call__(self, done: float, total: float, note: str) -> None:
        now = time.monotonic()
        spare = min(_BURST, self._spare + (now - self._last) / _EVENT_SECONDS)
        new = note != self._note and spare >= 1.0
        if new or now - self._last >= _EVENT_SECONDS or done >= total:
            self._last, self._note, self._spare = now, note, max(0.0, spare - 1.0)
            self._folder.event("progress", stage=self.stage, done=done, total=total, note=note)


@contextmanager
def _heartbeat(folder: TrialFolder) -> Iterator[None]:
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(_BEAT_SECONDS):
            try:
                folder.beat()
            except OSError:  # the folder has gone, or the disk is read-only now
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
