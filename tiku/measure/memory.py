"""The peak of a fresh process that serves an artefact, and what it went for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tiku.core.errors import ArtefactError, CannotMeasure
from tiku.core.residence import peak_bytes, reset_peak, resident_bytes
from tiku.core.startup import started_environment

__all__ = ["MemoryUse", "peak_bytes", "probe", "read_inputs", "reset_peak", "resident_bytes", "write_inputs"]


@dataclass(frozen=True)
class MemoryUse:
    """What one fresh process used, in bytes of resident memory.

    `peak` is the highest at any time. It splits into `libraries` (the interpreter and the imported
    runtime), `weights` (grown by opening the artefact and one short request), `activations` (grown
    from there to the peak while serving; a language model's cache included) and `load_transient`
    (what opening needed above everything later, 0 for most). `gpu_allocated` and `gpu_reserved` are
    the accelerator's peaks, None without one.
    """

    peak: int
    libraries: int
    weights: int
    activations: int
    load_transient: int
    gpu_allocated: int | None = None
    gpu_reserved: int | None = None


def write_inputs(inputs: Sequence[Any], folder: Path) -> Path:
    """Inputs of a model to a file without pickles.

    Texts and tuples of texts go to JSON (lists come back as tuples), arrays of one shape to .npy.
    """
    if all(isinstance(item, str | tuple | list) for item in inputs):
        path = folder / "inputs.json"
        path.write_text(json.dumps(list(inputs)), encoding="utf-8")
        return path
    path = folder / "inputs.npy"
    np.save(path, np.stack([np.asarray(item) for item in inputs]), allow_pickle=False)
    return path


def read_inputs(path: Path) -> Sequence[Any]:
    """What `write_inputs` wrote."""
    if path.suffix == ".json":
        texts = json.loads(path.read_text(encoding="utf-8"))
        return [text if isinstance(text, str) else tuple(text) for text in texts]
    return list(np.load(path, allow_pickle=False))


def probe(
    artefact: Path,
    inputs: Sequence[Any],
    *,
    context: int = 512,
    decode_tokens: int = 0,
    threads: int | None = None,
    device: str = "auto",
    timeout_s: float = 900,
) -> MemoryUse:
    """Serve `inputs` in a fresh process and read its memory.

    A language model takes each input as a prompt: `context` tokens, the last `decode_tokens` one by one.
    Raises `CannotMeasure` with the process's own last words when it fails.
    """
    with tempfile.TemporaryDirectory(prefix="tiku-memory-") as scratch:
        path = write_inputs(inputs, Path(scratch))
        command = [
            sys.executable, "-m", "tiku.measure._memory_probe",
            str(artefact), str(path), "--device", device,
            "--context", str(context), "--decode-tokens", str(decode_tokens),
            *([] if threads is None else ["--threads", str(threads)]),
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                env=_environment(artefact),
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CannotMeasure(
                "the memory probe did not finish", got=f"{timeout_s:.0f} s", next_step="use fewer items"
            ) from None
    if done.returncode:
        words = done.stderr.strip().splitlines()
        raise CannotMeasure(
            "the fresh process that measures memory failed",
            got=words[-1] if words else f"exit code {done.returncode}",
            next_step=f"run it by hand: {' '.join(command[:4])}",
        )
    return MemoryUse(**json.loads(done.stdout.strip().splitlines()[-1]))


def _environment(artefact: Path) -> dict[str, str]:
    """This environment with every import path of this process, so that plugins are found there too, and
    what the artefact wants its process to be started with."""
    from tiku.artefact.manifest import read_manifest

    paths = os.pathsep.join(p for p in sys.path if p)
    here = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        return started_environment(read_manifest(artefact).serve.environment, here)
    except ArtefactError:  # the fresh process says so in its own words
        return here
