"""Proves an artefact: schema, every hash, and the same answers in a fresh process without tiku."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiku.artefact.check import CHECK, read_reference
from tiku.artefact.manifest import MODEL, Manifest, check_files, read_manifest
from tiku.artefact.predictor import registered
from tiku.artefact.readme import standalone_source
from tiku.artefact.recipe_file import read_recipe
from tiku.core.errors import ArtefactError, BadInput, MissingExtra
from tiku.core.runtime import Runtime
from tiku.core.startup import started_environment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["VerifyReport", "verify"]

_TIMEOUT_S = 900.0
_WIDEST = 0.25  # of the largest logit: a manifest cannot ask for a tolerance that proves nothing

_CHILD = """
import ctypes, json, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)  # ends with its parent
job = json.load(sys.stdin)
if job["without_tiku"]:
    sys.modules["tiku"] = None
import numpy as np
names = {}
exec(job["source"], names)
stored = np.load(job["check"], allow_pickle=False)
inputs = {key.removeprefix("input/"): stored[key] for key in stored.files if key.startswith("input/")}
logits = names["forward"](names["open_model"](job["model"]), inputs)
np.save(job["out"], np.asarray(logits[:, -1] if job["last"] else logits, dtype=np.float32))
"""

_THROUGH_TIKU = """
from pathlib import Path
from tiku.artefact.manifest import read_manifest
from tiku.artefact.predictor import open_session

def open_model(folder):
    return open_session(Path(folder).parent, read_manifest(Path(folder).parent))

def forward(model, inputs):
    return model.run(inputs)
"""


@dataclass(frozen=True)
class VerifyReport:
    """What was checked. `max_abs_diff` is the largest difference between the stored logits and those
    of the fresh process, None when it did not get that far; `error` is the first thing wrong."""

    folder: Path
    files: int = 0
    bytes: int = 0
    hashes_ok: bool = False
    without_tiku: bool = False
    max_abs_diff: float | None = None
    tolerance: float | None = None
    error: BadInput | None = None

    @property
    def ok(self) -> bool:
        """Whether everything held."""
        return self.error is None

    def to_json(self) -> dict[str, Any]:
        """JSON values; `error` in its four parts, absent when all is well."""
        values: dict[str, Any] = {"ok": self.ok, "folder": str(self.folder)}
        for name in ("files", "bytes", "hashes_ok", "without_tiku", "max_abs_diff", "tolerance"):
            values[name] = getattr(self, name)
        return values if self.error is None else {**values, "error": self.error.parts()}


def verify(folder: Path | str) -> VerifyReport:
    """Check everything that can be checked; what fails is in `error`. Runs the model in a new process."""
    folder = Path(folder)
    found: dict[str, Any] = {}
    try:
        _verify(folder, found)
    except BadInput as error:
        found["error"] = error
    return VerifyReport(folder, **found)


def _verify(folder: Path, found: dict[str, Any]) -> None:
    manifest = read_manifest(folder)
    found.update(files=len(manifest.files), bytes=sum(entry.bytes for entry in manifest.files.values()))
    check_files(folder, manifest)
    found["hashes_ok"] = True
    read_recipe(folder / "recipe.yaml")
    _require_modules(registered("runtimes", manifest.runtime))
    registered("models", manifest.family)
    source = standalone_source(manifest)
    logits = _fresh_process(folder, manifest, source)
    found["without_tiku"] = source is not None
    found["max_abs_diff"], found["tolerance"] = _compare(folder, manifest, logits)
    if not found["max_abs_diff"] <= found["tolerance"]:
        raise ArtefactError(
            "the artefact does not give the answers it gave when it was built",
            got=f"logits differ by up to {found['max_abs_diff']:.3g}",
            allowed=f"at most {found['tolerance']:.3g}",
            next_step="build it on this machine: its number format may depend on the processor",
        )


def _require_modules(runtime: Runtime) -> None:
    lacking = [name for name in runtime.modules if importlib.util.find_spec(name) is None]
    if lacking:
        raise MissingExtra(
            f"the runtime {runtime.name} needs a package that is not installed",
            got=", ".join(lacking),
            next_step=f"pip install 'tiku[{runtime.extra}]'" if runtime.extra else None,
        )


def _fresh_process(folder: Path, manifest: Manifest, source: str | None) -> NDArray[np.float32]:
    """Logits of the reference inputs from a new interpreter. Raises `ArtefactError`."""
    import numpy as np

    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch, "logits.npy")
        job = {
            "source": source or _THROUGH_TIKU,
            "without_tiku": source is not None,
            "model": str((folder / MODEL).resolve()),
            "check": str((folder / CHECK).resolve()),
            "last": manifest.task == "causal-lm",
            "out": str(out),
        }
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        child = subprocess.run(
            [sys.executable, "-c", _CHILD],
            input=json.dumps(job),
            env=started_environment(manifest.serve.environment, {**os.environ, "PYTHONPATH": path}),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        if child.returncode != 0 or not out.is_file():
            lines = child.stderr.strip().splitlines()
            raise ArtefactError(
                "the artefact does not open in a fresh process",
                got=lines[-1] if lines else f"exit code {child.returncode}",
                allowed="the files as tiku wrote them, and the packages its README names",
                next_step="build the artefact again",
            )
        logits: NDArray[np.float32] = np.load(out, allow_pickle=False)
        return logits


def _compare(folder: Path, manifest: Manifest, logits: NDArray[np.float32]) -> tuple[float, float]:
    """(largest difference, tolerance). Raises `ArtefactError` when the shapes differ."""
    import numpy as np

    stored = read_reference(folder).logits
    asked = manifest.check.get("tolerance")
    if stored.shape != logits.shape or not isinstance(asked, int | float) or not math.isfinite(asked):
        raise ArtefactError(
            "the reference outputs do not belong to this model",
            got=f"shape {stored.shape}, tolerance {asked}",
            allowed=f"shape {logits.shape} and a finite tolerance",
            next_step="build the artefact again",
        )
    scale = max(1.0, float(np.abs(stored).max()))
    return float(np.abs(stored - logits).max()), min(float(asked), _WIDEST * scale)
