"""Runs every instrument that applies, candidate against base, and gathers what they found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiku.core import registry
from tiku.core.data import SplitName
from tiku.core.errors import CannotMeasure, TooNoisy
from tiku.core.instrument import Instrument, Reading, Workbench
from tiku.core.measured import Measured
from tiku.core.method import Progress
from tiku.core.subject import Predictor
from tiku.core.text import Text
from tiku.core.verdict import Comparison
from tiku.examination.inputs import Inputs
from tiku.examination.ledger import Ledger, TrialFolder, TrialSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Findings", "measure_trial", "needs_own_process"]

_ON_BASE = 0.07  # of a confirmation's time: the base alone, on the test items
_ATTEMPTS = 3  # a noisy A/A control is tried again before it counts as "cannot tell"


@dataclass(frozen=True)
class Findings:
    """Everything the instruments of one trial found."""

    metrics: Mapping[str, Measured] = field(default_factory=dict)
    against_base: Mapping[str, Comparison] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[Text, ...] = ()
    joules: float | None = None


def measure_trial(
    folder: TrialFolder, spec: TrialSpec, inputs: Inputs, ledger: Ledger, progress: Progress
) -> Findings:
    """Open the build (and the base's) and measure on validation, or on test for a confirmation."""
    split: SplitName = "test" if spec.role == "confirmation" else "validation"
    data = tuple(splits[split] for splits in inputs.splits)
    train = tuple(splits.train for splits in inputs.splits)
    candidate_build = folder.build if spec.builds is None else ledger.folder(spec.builds).build
    base_folder = None if spec.base is None else ledger.folder(spec.base)
    apart = needs_own_process(candidate_build, *([] if base_folder is None else [base_folder.build]))
    with _opened(candidate_build, spec, apart=apart) as candidate:
        if base_folder is None:
            readings = _run_all(Workbench(candidate, None, data, spec.protocol, train=train), progress)
            return _gather(folder, candidate, readings)
        with _opened(base_folder.build, spec, apart=apart) as base:
            on_base: dict[str, Reading] = {}
            if spec.role == "confirmation":
                alone = Workbench(base, None, data, spec.protocol, train=train)
                on_base = _run_all(alone, _part_of(progress, 0, _ON_BASE, 1), items_only=True)
                progress = _part_of(progress, _ON_BASE, 1 - _ON_BASE, 1)
            arrays = _base_arrays(base_folder, on_base)
            bench = Workbench(candidate, base, data, spec.protocol, train=train)
            readings = _run_all(bench, progress, arrays=arrays)
    findings = _gather(folder, candidate, readings)
    if on_base:
        base_metrics = {name: m for reading in on_base.values() for name, m in reading.metrics.items()}
        details = {**findings.details, "base": base_metrics, "base details": _details(on_base)}
        findings = Findings(
            findings.metrics, findings.against_base, details, findings.warnings, findings.joules
        )
    return findings


def needs_own_process(*builds: Path) -> bool:
    """Whether one of them asks for settings that cannot act in this process, which began without them."""
    from tiku.artefact import read_manifest
    from tiku.core.startup import idle_here

    return any(idle_here(read_manifest(build).serve.environment) for build in builds)


@contextmanager
def _opened(build: Path, spec: TrialSpec, *, apart: bool) -> Iterator[Predictor]:
    """`apart`: in a process of its own. Base and candidate are treated alike, so that both pay the way."""
    from tiku.artefact import open_artefact
    from tiku.artefact.apart import open_apart

    # The hashes were made moments ago in this folder; reading every file again would only cost time.
    protocol = spec.protocol
    if apart:
        predictor = open_apart(build, threads=protocol.threads, device=protocol.device)
    else:
        predictor = open_artefact(build, threads=protocol.threads, device=protocol.device, check_hashes=False)
    try:
        yield predictor
    finally:
        predictor.close()


def _instruments() -> list[Instrument]:
    found = [registry.get("metrics", name) for name in registry.names("metrics")]
    return sorted(found, key=lambda i: i.cost_rank)


def _run_all(
    bench: Workbench,
    progress: Progress,
    *,
    arrays: Mapping[str, Mapping[str, NDArray[Any]]] | None = None,
    items_only: bool = False,
) -> dict[str, Reading]:
    """Readings by instrument. One that cannot measure leaves a warning and no number."""
    asked = {i: replace(bench, base_arrays=(arrays or {}).get(i.name, {})) for i in _instruments()}
    chosen = {i: own for i, own in asked.items() if (i.on_items or not items_only) and i.supports(own)}
    total, done = sum(i.cost_rank for i in chosen), 0  # the dear ones weigh more in the progress
    readings: dict[str, Reading] = {}
    for instrument, own in chosen.items():
        progress(done, total, instrument.name)
        part = _part_of(progress, done, instrument.cost_rank, total)
        readings[instrument.name] = _measure(instrument, replace(own, progress=part))
        done += instrument.cost_rank
    progress(total, total, "")
    return readings


def _part_of(progress: Progress, before: float, own: float, whole: float) -> Progress:
    def report(done: float, total: float, note: str) -> None:
        progress(before + own * done / max(total, 1e-9), whole, note)

    return report


def _measure(instrument: Instrument, bench: Workbench) -> Reading:
    for attempt in range(_ATTEMPTS):
        try:
            return instrument.measure(bench)
        except TooNoisy as error:
            if attempt == _ATTEMPTS - 1:
                return Reading({}, warnings=(_warning(instrument, error),))
        except CannotMeasure as error:
            return Reading({}, warnings=(_warning(instrument, error),))
    raise AssertionError("unreachable")


def _warning(instrument: Instrument, error: CannotMeasure) -> Text:
    text = "; ".join(error.parts().values())
    return Text(f"{instrument.name}: {text}", f"{instrument.name}:{text}")


def _gather(folder: TrialFolder, candidate: Predictor, readings: Mapping[str, Reading]) -> Findings:
    import numpy as np

    from tiku.artefact import read_facts

    kept = {f"{name}/{key}": a for name, r in readings.items() for key, a in r.arrays.items()}
    with folder.arrays.open("wb") as file:
        np.savez(file, **kept)  # type: ignore[arg-type]
    metrics = {name: m for reading in readings.values() for name, m in reading.metrics.items()}
    compared = {name: c for reading in readings.values() for name, c in reading.against_base.items()}
    warnings = tuple(w for reading in readings.values() for w in reading.warnings)
    details = {**_details(readings), "build": read_facts(candidate.folder)}
    return Findings(metrics, compared, details, warnings)


def _details(readings: Mapping[str, Reading]) -> dict[str, Any]:
    return {name: reading.details for name, reading in readings.items() if reading.details}


def _base_arrays(base: TrialFolder, on_base: Mapping[str, Reading]) -> dict[str, dict[str, NDArray[Any]]]:
    """The base's kept arrays by instrument: measured just now, or read from its folder."""
    import numpy as np

    if on_base:
        return {name: dict(reading.arrays) for name, reading in on_base.items()}
    found: dict[str, dict[str, NDArray[Any]]] = {}
    with np.load(base.arrays, allow_pickle=False) as stored:
        for key in stored.files:
            instrument, _, name = key.partition("/")
            found.setdefault(instrument, {})[name] = stored[key]
    return found
