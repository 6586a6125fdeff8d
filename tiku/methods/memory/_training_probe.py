"""Run as a program in a fresh process: the memory and time of training steps, kept and recomputed.

`python -m tiku.methods.memory._training_probe FOLDER`: the folder holds an artefact of the model and
`job.json`. One line of JSON: lists of peaks in bytes and of seconds for each way, the largest
difference of a gradient relative to the largest gradient, and the batch they were taken on.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

_SEED = 0


def main(folder: Path) -> None:
    """Print what was measured."""
    import torch

    from tiku.training.recomputing import recomputing

    job = json.loads((folder / "job.json").read_text("utf-8"))
    torch.set_num_threads(job["threads"])
    run = _prepared(folder, job)
    run.advance(0.0)  # from here on the optimiser holds its two moments
    positions = max((run.sampler.batch(i) for i in range(run.sampler.steps)), key=lambda p: _padded(run, p))
    found: dict[str, Any] = {"kept": [], "recomputed": [], "seconds_kept": [], "seconds_recomputed": []}
    found["gradient_difference"] = _difference(run, positions)  # and its copies are gone before peaks count
    for _ in range(job["rounds"]):
        for way in ("recomputed", "kept"):
            with recomputing(run.module, on=way == "recomputed") as blocks:
                peak, seconds = _step(run, positions)
            found[way].append(peak)
            found[f"seconds_{way}"].append(seconds)
            found["blocks"] = max(found.get("blocks", 0), blocks)
    found["batch"] = [len(positions), max(run.examples.lengths[i] for i in positions)]
    print(json.dumps(found))


def _prepared(folder: Path, job: dict[str, Any]) -> Any:
    import numpy as np

    from tiku.artefact import load_subject
    from tiku.data.labelled_texts import LabelledTexts
    from tiku.training.examples import encode_examples
    from tiku.training.options import TrainOptions
    from tiku.training.run import Run

    subject = load_subject(folder / "artefact")
    pairs = None if job["pairs"] is None else tuple(job["pairs"])
    labels = np.asarray(job["labels"], dtype=np.int64)
    data = LabelledTexts("probe", tuple(job["texts"]), labels, tuple(job["classes"]), pairs)
    options = TrainOptions(epochs=1, min_steps=0, batch_tokens=job["batch_tokens"], precision="fp32")
    examples = encode_examples(subject, data, options.max_length)
    classes = len(subject.labels or data.classes())
    return Run(subject.module, examples, classes, options, _SEED, precision="fp32", device="cpu")


def _padded(run: Any, positions: Any) -> int:
    return len(positions) * max(int(run.examples.lengths[i]) for i in positions)


def _difference(run: Any, positions: Any) -> float:
    from tiku.training.recomputing import recomputing

    gradients = []
    for on in (False, True):
        with recomputing(run.module, on=on):
            _step(run, positions)
        gradients.append([None if p.grad is None else p.grad.clone() for p in run.module.parameters()])
    return _apart(*gradients)


def _step(run: Any, positions: Any) -> tuple[int, float]:
    """Peak bytes and seconds of one batch, always with the same dropout."""
    import torch

    from tiku.core.residence import peak_bytes, reset_peak

    run.optimiser.zero_grad()
    torch.manual_seed(_SEED)
    reset_peak()
    started = time.perf_counter()
    run.loss_sum(positions).backward()
    seconds = time.perf_counter() - started
    return peak_bytes(), seconds


def _apart(ours: list[Any], theirs: list[Any]) -> float:
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None]
    largest = max(float(a.abs().max()) for a, _ in pairs)
    return max(float((a - b).abs().max()) for a, b in pairs) / max(largest, 1e-30)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
