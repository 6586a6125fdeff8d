"""Driving a run to its end: device, threads, checkpoints, evaluations, progress."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tiku.core.errors import BadInput, TikuError
from tiku.core.method import Context
from tiku.training.checkpoint import Checkpoint
from tiku.training.examples import Examples
from tiku.training.recomputing import recomputing
from tiku.training.run import Run

if TYPE_CHECKING:
    import torch

__all__ = ["CHECKPOINT_SECONDS", "chosen_device", "drive", "hash_of_weights", "sealed", "thread_count"]

CHECKPOINT_SECONDS = 60.0
_EVALUATIONS = 4
_NOTE_SECONDS = 0.5


def drive(
    run: Run, judged: Examples | None, checkpoint: Checkpoint, context: Context, every_seconds: float
) -> None:
    """Go on from the checkpoint, if there is one, to the last step; then the checkpoint is removed."""
    _resume(run, checkpoint, context)
    with recomputing(run.module, on=run.options.checkpoint_activations):
        _advance_to_the_end(run, judged, checkpoint, context, every_seconds)
    checkpoint.remove()


def _advance_to_the_end(
    run: Run, judged: Examples | None, checkpoint: Checkpoint, context: Context, every_seconds: float
) -> None:
    """Steps, evaluations, progress and checkpoints until the last step is done."""
    before, cpu_before = (run.curve.seconds[-1] if run.step else 0.0), run.curve.cpu_seconds
    start, cpu_start = time.monotonic(), time.process_time()
    saved = noted = start
    steps = run.sampler.steps
    due = {round(steps * (i + 1) / _EVALUATIONS) for i in range(_EVALUATIONS)}
    while run.step < steps:
        try:
            run.advance(before + time.monotonic() - start)
        except TikuError:
            checkpoint.remove()
            raise
        run.curve.cpu_seconds = cpu_before + time.process_time() - cpu_start
        if judged is not None and run.step in due:
            run.curve.validation.append({"step": run.step, **run.evaluate(judged)})
        now = time.monotonic()
        if now - noted >= _NOTE_SECONDS or run.step == steps:
            noted = now
            context.progress(run.step, steps, _note(run))
        if now - saved >= every_seconds and run.step < steps:
            checkpoint.save(run.state())
            saved = time.monotonic()


def _note(run: Run) -> str:
    recent = run.curve.losses[-20:]
    text = f"loss {sum(recent) / len(recent):.3f}"
    if run.curve.validation:
        last = run.curve.validation[-1]
        name = "accuracy" if "accuracy" in last else "loss"
        text += f", validation {name} {last[name]:.3f}"
    return text


def _resume(run: Run, checkpoint: Checkpoint, context: Context) -> None:
    state, reason = checkpoint.load()
    if reason:
        context.progress(0, run.sampler.steps, reason)
    if state is not None:
        run.restore(state)
        run.curve.resumed_at.append(run.step)


def hash_of_weights(module: torch.nn.Module) -> str:
    """SHA-256 over names and bytes of all weights and buffers."""
    import torch

    weights = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        weights.update(name.encode())
        weights.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return weights.hexdigest()


def chosen_device(wanted: str) -> str:
    """ "auto" -> a GPU where there is one. Raises `BadInput`."""
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise BadInput(
            "there is no such device here",
            got=wanted,
            allowed="auto, cpu",
            next_step="leave the device at auto",
        )
    return wanted


def thread_count() -> int:
    """Threads torch computes with."""
    import torch

    return torch.get_num_threads()


@contextmanager
def sealed(device: str, threads: int | None) -> Iterator[None]:
    """The caller's random state and thread count are as before when the block ends."""
    import torch

    old = torch.get_num_threads()
    with torch.random.fork_rng(devices=[torch.device(device)] if device.startswith("cuda") else []):
        try:
            torch.set_num_threads(threads or old)
            yield
        finally:
            torch.set_num_threads(old)
