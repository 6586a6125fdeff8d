"""The contract of a runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiku.core import registry
from tiku.core.errors import BadInput
from tiku.core.runtime import Runtime
from tiku.core.subject import Numerics, Session, Subject
from tiku.testing.clauses import bilingual, named_after_file, refusal_explained, settings_hash, weights_hash

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["check_runtime"]

_TOLERANCE = 1e-3  # of the largest logit


def check_runtime(runtime: Runtime, subject: Subject, workdir: Path) -> None:
    """Save, open and run a float32 subject, against the module itself; refusals must be explained."""
    where = f"runtime {runtime.name}"
    named_after_file(runtime.name, type(runtime).__module__)
    bilingual(runtime.title, f"{where}.title", name_allowed=True)
    assert runtime.modules, f"{where} names no module that must be there"
    _check_refusals(runtime, subject, workdir)
    if not runtime.supports(replace(subject, runtime=runtime.name)):
        return
    before = (weights_hash(subject.module), settings_hash(subject))
    runtime.save(replace(subject, runtime=runtime.name), workdir / "saved")
    assert (weights_hash(subject.module), settings_hash(subject)) == before, f"{where} changed the subject"
    sessions = [_open(runtime, subject, workdir / "saved", threads) for threads in (1, 2)]
    if runtime.streams:
        sessions.append(_open(runtime, subject, workdir / "saved", 2, streams=2))
    try:
        for session in sessions:
            _check_session(where, session, subject)
        if runtime.streams:
            _check_streams(where, sessions[-1], subject)
    finally:
        for session in sessions:
            session.close()


def _check_refusals(runtime: Runtime, subject: Subject, workdir: Path) -> None:
    refusal_explained(runtime.supports(replace(subject, runtime=runtime.name)), f"runtime {runtime.name}")
    strange = replace(subject, runtime=runtime.name, numerics=Numerics("no-such-format"))
    support = runtime.supports(strange)
    assert not support, f"runtime {runtime.name} accepts a number format that does not exist"
    refusal_explained(support, f"runtime {runtime.name}")
    empty = workdir / "empty"
    empty.mkdir()
    try:
        _open(runtime, subject, empty, 1)
    except BadInput as error:
        assert error.next_step, f"runtime {runtime.name}: the error for an empty folder has no next step"
    else:
        raise AssertionError(f"runtime {runtime.name} opens an empty folder")


def _open(runtime: Runtime, subject: Subject, folder: Path, threads: int, **options: Any) -> Session:
    return runtime.open(folder, task=subject.task, options=options, threads=threads, device="cpu")


def _check_session(where: str, session: Session, subject: Subject) -> None:
    import numpy as np

    from tiku.artefact.check import answers, module_logits

    assert session.runtime, f"{where}: the session does not name its runtime"
    batch = _batch(subject)
    logits = answers(session, batch, subject.task)
    own = module_logits(subject, batch)
    scale = max(1.0, float(np.abs(own).max()))
    assert logits.dtype == np.float32 and logits.shape == own.shape, f"{where}: {logits.dtype} {logits.shape}"
    assert np.abs(logits - own).max() <= _TOLERANCE * scale, f"{where} does not compute what the module does"
    assert np.array_equal(logits, answers(session, batch, subject.task)), f"{where}: two runs differ"
    kept = logits.copy()
    answers(session, {name: array[:1] for name, array in batch.items()}, subject.task)
    assert np.array_equal(logits, kept), f"{where}: a later run overwrote the arrays of an earlier one"


def _check_streams(where: str, session: Session, subject: Subject) -> None:
    """Different batches, run at once and over and over, get the answers that each gets alone."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    assert session.streams == 2, f"{where} says it runs several batches at once, its session does not"
    batch = _batch(subject)
    parts = [
        {name: array[:size] for name, array in batch.items()} for size in (1, 2, len(batch["input_ids"]))
    ]
    own = [session.run(part) for part in parts]
    scale = max(1.0, max(float(np.abs(logits).max()) for logits in own))
    with ThreadPoolExecutor(2) as pool:
        for logits, got in zip(own * 10, pool.map(session.run, parts * 10), strict=True):
            away = np.abs(logits - got).max() if logits.shape == got.shape else np.inf
            assert away <= _TOLERANCE * scale, f"{where}: batches that run at once disturb each other"


def _batch(subject: Subject) -> Mapping[str, NDArray[Any]]:
    from tiku.testing.tiny import tiny_texts

    family = registry.get("models", subject.family)
    encodings = family.encode(subject.processor, [text for text in tiny_texts(24) if " " in text], None)
    if subject.task == "causal-lm":
        width = min(len(encoding["input_ids"]) for encoding in encodings)
        encodings = [{name: ids[:width] for name, ids in encoding.items()} for encoding in encodings]
    collated: Mapping[str, NDArray[Any]] = family.collate(subject.processor, encodings)
    return collated
