"""`train`: fine-tune a classifier on labelled examples, in plain torch."""

from __future__ import annotations

from dataclasses import replace

from tiku.core.data import Dataset
from tiku.core.errors import DataError
from tiku.core.hashing import hash_of
from tiku.core.method import Context
from tiku.core.subject import Subject
from tiku.training.checkpoint import Checkpoint
from tiku.training.curve import chance_loss
from tiku.training.driving import (
    CHECKPOINT_SECONDS,
    chosen_device,
    drive,
    hash_of_weights,
    sealed,
    thread_count,
)
from tiku.training.examples import Examples, encode_examples
from tiku.training.options import TrainOptions
from tiku.training.precision import choose_precision
from tiku.training.run import Run

__all__ = ["train"]

_EVALUATION_ITEMS = 1000


def train(
    subject: Subject,
    train: Dataset,
    validation: Dataset | None,
    options: TrainOptions,
    context: Context,
    *,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
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
    device = chosen_device(context.protocol.device)
    seed = context.protocol.seed % 2**32
    context.progress(0, 1, "encode")
    examples = _learnable(encode_examples(subject, train, options.max_length), train)
    judged = None if validation is None else _judged(subject, validation, options)
    checkpoint = Checkpoint(context.workdir, _identity(subject, train, options, seed))
    if subject.facts.get("checkpoint_activations"):  # a step before this one said so
        options = replace(options, checkpoint_activations=True)
    with sealed(device, context.protocol.threads):
        precision = choose_precision(options.precision, device)
        classes = len(subject.labels or train.classes())
        run = Run(subject.module, examples, classes, options, seed, precision=precision, device=device)
        drive(run, judged, checkpoint, context, checkpoint_seconds)
        threads = thread_count()
    curve = {
        **run.curve.summary(),
        "epochs": run.sampler.epochs,
        "examples": len(examples),
        "cut_examples": sum(n >= options.max_length for n in examples.lengths),
        "chance_loss": chance_loss(examples.targets),
        "precision": run.precision,
        "checkpoint_activations": options.checkpoint_activations,
        "learning_rate": max(group["peak"] for group in run.optimiser.param_groups),
        "threads": threads,
        "device": device,
    }
    facts = {**subject.facts, "head": "trained", "learning_curve": curve}
    return replace(subject, module=run.module.cpu().eval(), facts=facts)


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

    return hash_of(options, seed, train.sha256(), hash_of_weights(subject.module), torch.__version__)
