"""`train`: fine-tune a classifier on labelled examples, in plain torch."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tiku.core.data import Dataset
from tiku.core.errors import BadInput, DataError, TikuError
from tiku.core.hashing import hash_of
from tiku.core.method import Context
from tiku.core.subject import Subject
from tiku.training.checkpoint import Checkpoint
from tiku.training.curve import chance_loss
from tiku.training.examples import Examples, encode_examples
from tiku.training.options import TrainOptions
from tiku.training.precision import choose_precision
from tiku.training.run import Run

__all__ = ["train"]

_EVALUATIONS = 4
_EVALUATION_ITEMS = 1000
_NOTE_SECONDS = 0.5


def train(
    subject: Subject,
    train: Dataset,
    validation: Dataset | None,
    options: TrainOptions,
    context: Context,
    *,
    checkpoint_seconds: float = 60.0,
) -> Subject:
    """A new subject whose module was trained on `train`; the input subject stays untouched.

    AdamW with decoupled decay of matrices (Loshchilov & Hutter 2019), a rate that rises, falls to
    zero and decays by layer, clipped gradients, batches of like lengths within a token budget in
    which every example weighs the same. Weights are float32; products are bfloat16 where that is
    faster. The last weights are returned: `validation` is looked at for the curve only and selects
    nothing. A budget above the size of the data makes one batch per epoch.

    The same seed, machine, thread count and data give the same weights. A run that was killed goes
    on from the checkpoint in `context.workdir`, written every `checkpoint_seconds`.

    `facts["learning_curve"]` holds losses (nats), validation accuracy, seconds and tokens per second.
    Raises `DataError` (no examples, no labels, a label without a class), `ModelError`, `OutOfSpace`,
    and `TikuError` when the training diverges.
    """
    device = _device(context.protocol.device)
    seed = context.protocol.seed % 2**32
    context.progress(0, 1, "encode")
    examples = _learnable(encode_examples(subject, train, options.max_length), train)
    judged = None if validation is None else _judged(subject, validation, options)
    checkpoint = Checkpoint(context.workdir, _identity(subject, train, options, seed))
    with _sealed(device, context.protocol.threads):
        precision = choose_precision(options.precision, device)
        classes = len(subject.labels or train.classes())
        run = Run(subject.module, examples, classes, options, seed, precision=precision, device=device)
        _resume(run, checkpoint, context)
        _advance_to_the_end(run, judged, checkpoint, context, checkpoint_seconds)
        threads = _thread_count()
    checkpoint.remove()
    curve = {
        **run.curve.summary(),
        "epochs": run.sampler.epochs,
        "examples": len(examples),
        "cut_examples": sum(n >= options.max_length for n in examples.lengths),
        "chance_loss": chance_loss(examples.targets),
        "precision": run.precision,
        "learning_rate": max(group["peak"] for group in run.optimiser.param_groups),
        "threads": threads,
        "device": device,
    }
    facts = {**subject.facts, "head": "trained", "learning_curve": curve}
    return replace(subject, module=run.module.cpu().eval(), facts=facts)


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
        text += f", validation accuracy {run.curve.validation[-1]['accuracy']:.3f}"
    return text


def _resume(run: Run, checkpoint: Checkpoint, context: Context) -> None:
    state, reason = checkpoint.load()
    if reason:
        context.progress(0, run.sampler.steps, reason)
    if state is not None:
        run.restore(state)
        run.curve.resumed_at.append(run.step)


def _learnable(examples: Examples, data: Dataset) -> Examples:
    present = set(examples.targets.tolist())
    if len(present) < 2:
        name = data.classes()[present.pop()] if data.classes() else present.pop()
        raise DataError(
            "every training example has the same class",
            got=f"{data.name}: {name}",
            allowed="two classes or more",
            next_step="add examples of the other classes",
        )
    return examples


def _judged(subject: Subject, validation: Dataset, options: TrainOptions) -> Examples:
    """At most 1,000 validation examples, evenly spread: the curve stays cheap."""
    import numpy as np

    chosen = np.linspace(0, len(validation) - 1, min(len(validation), _EVALUATION_ITEMS)).round()
    return encode_examples(subject, validation.take(chosen.astype(np.int64)), options.max_length)


def _identity(subject: Subject, train: Dataset, options: TrainOptions, seed: int) -> str:
    """What the outcome depends on, the first weights included."""
    import torch

    weights = hashlib.sha256()
    for name, tensor in subject.module.state_dict().items():
        weights.update(name.encode())
        weights.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return hash_of(options, seed, train.sha256(), weights.hexdigest(), torch.__version__)


def _device(wanted: str) -> str:
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


def _thread_count() -> int:
    import torch

    return torch.get_num_threads()


@contextmanager
def _sealed(device: str, threads: int | None) -> Iterator[None]:
    """The caller's random state and thread count are as before when the block ends."""
    import torch

    old = torch.get_num_threads()
    with torch.random.fork_rng(devices=[torch.device(device)] if device.startswith("cuda") else []):
        try:
            torch.set_num_threads(threads or old)
            yield
        finally:
            torch.set_num_threads(old)
