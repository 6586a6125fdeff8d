"""Teacher, student and data put together; the run is driven by `tiku.training`."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tiku.core.hashing import hash_of
from tiku.core.method import Context
from tiku.core.subject import Subject
from tiku.methods.distill._examples import training_examples, validation_examples
from tiku.methods.distill._run import DistilRun, Objective
from tiku.training.checkpoint import Checkpoint
from tiku.training.driving import (
    CHECKPOINT_SECONDS,
    chosen_device,
    drive,
    hash_of_weights,
    sealed,
    thread_count,
)
from tiku.training.options import TrainOptions
from tiku.training.precision import choose_precision

__all__ = ["Lesson", "teach"]


@dataclass(frozen=True)
class Lesson:
    """How the student is taught. `identity` is the hash of everything that was chosen."""

    options: TrainOptions
    objective: Objective
    matches: Sequence[int]
    identity: str


def teach(
    subject: Subject, student: Any, lesson: Lesson, context: Context, *, validation_tokens: int
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """(the trained student in eval mode, facts). `subject.module` is the teacher and stays as it is."""
    device, seed = chosen_device(context.protocol.device), context.protocol.seed % 2**32
    options = lesson.options
    if subject.facts.get("checkpoint_activations"):  # a step before this one said so
        options = replace(options, checkpoint_activations=True)
    context.progress(0, 1, "encode")
    wanted = options.min_steps * options.batch_tokens
    examples = training_examples(subject, context, wanted, options.max_length)
    judged = validation_examples(subject, context, validation_tokens, options.max_length)
    identity = _identity(subject, student, lesson, context, seed)
    classes = None if subject.task == "causal-lm" else len(subject.labels)
    with sealed(device, context.protocol.threads):
        precision = choose_precision(options.precision, device)
        run = DistilRun(
            student, _teacher(subject.module, device), examples, classes, options, seed,
            objective=lesson.objective, matches=lesson.matches, precision=precision, device=device,
        )  # fmt: skip
        before = {} if judged is None else _standing(run, judged)
        drive(run, judged, Checkpoint(context.workdir, identity), context, CHECKPOINT_SECONDS)
        if judged is not None:
            before["student"] = run.evaluate(judged)
        threads = thread_count()
    curve = {**run.curve.summary(), "precision": run.precision, "threads": threads, "device": device}
    facts = {"training": curve, "validation": before, "examples": len(examples), "epochs": run.sampler.epochs}
    return run.module.cpu().eval(), facts


def _standing(run: DistilRun, judged: Any) -> dict[str, Any]:
    """Where teacher and student stand before the first step: what was lost, and can be won back."""
    return {"teacher": run.judge(run.teacher, judged), "cut": run.evaluate(judged)}


def _teacher(module: Any, device: str) -> Any:
    """The module itself on the CPU, a copy elsewhere."""
    return module.eval() if device == "cpu" else copy.deepcopy(module).to(device).eval()


def _identity(subject: Subject, student: Any, lesson: Lesson, context: Context, seed: int) -> str:
    import torch

    data = [splits.train.sha256() for splits in context.splits]
    weights = [hash_of_weights(subject.module), hash_of_weights(student)]
    return hash_of(lesson.identity, data, weights, seed, torch.__version__)
