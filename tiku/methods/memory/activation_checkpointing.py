"""Training that recomputes activations instead of keeping them."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from tiku.core.config import param
from tiku.core.errors import CannotMeasure
from tiku.core.method import Context, Method, Stage
from tiku.core.startup import started_environment
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support

__all__ = ["METHOD", "ActivationCheckpointing"]

_TEXTS = 256
_RETURNING = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}  # freed memory is given back


@dataclass(frozen=True)
class ActivationCheckpointing(Method):
    """From here on training keeps each block's inputs only and runs the block again for its gradient.

    The memory of activations falls to about one block's, and a step takes about a third longer; the
    gradients are the same, dropout included. What it gives is measured here, on the largest batch of the
    training part, in a fresh process that takes both ways in turn: `facts["activation_checkpointing"]`.
    Weights are not touched. `finetune` has the same switch, `checkpoint_activations`.
    """

    name: ClassVar[str] = "activation-checkpointing"
    promise: ClassVar[float] = 0.42
    stage: ClassVar[Stage] = "train"
    questions: ClassVar[tuple[str, ...]] = ("memory",)
    title: ClassVar[Text] = Text("Activation checkpointing", "激活重计算（梯度检查点）")
    source: ClassVar[str] = "Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost"
    tasks: ClassVar[frozenset[str]] = frozenset({"text-classification"})

    batch_tokens: int = param(1024, "padded tokens of the batch it is measured on", low=8, high=10**7)
    rounds: int = param(3, "times that both ways are measured", low=2, high=100)

    def supports(self, subject: Subject) -> Support:
        from tiku.training.recomputing import repeated_blocks

        if subject.runtime != "torch" or subject.numerics.scheme != "fp32":
            return Support.no(
                "only a float32 torch module is trained, and this one is to be built otherwise",
                "只训练 float32 的 torch 模块，而该模型已定为以其他方式构建",
            )
        if not os.access("/proc/self/clear_refs", os.W_OK):
            return Support.no(
                "only Linux lets a process begin a new peak, which tells the two ways apart",
                "只有 Linux 允许进程重新计峰值，从而区分两种方式",
            )
        if not repeated_blocks(subject.module):
            return Support.no(
                "the model repeats no block, so there is nothing to keep and nothing to run again",
                "模型没有重复的块，无可保存或重算",
            )
        return Support.yes()

    def apply(self, subject: Subject, context: Context) -> Subject:
        context.progress(0, 1, "memory of training steps in a fresh process")
        found = _measured(self._job(context), subject, context)
        facts = {**subject.facts, "activation_checkpointing": found, "checkpoint_activations": True}
        return replace(subject, facts=facts)

    def _job(self, context: Context) -> dict[str, Any]:
        import numpy as np

        from tiku.artefact.predictor import cores

        train: Any = next(s.train for s in context.splits if "text-classification" in s.train.tasks)
        at = np.linspace(0, len(train) - 1, min(len(train), _TEXTS)).round().astype(np.int64)
        some = train.take(at)
        return {
            "texts": list(some.texts),
            "pairs": None if some.pairs is None else list(some.pairs),
            "labels": some.labels.tolist(),
            "classes": list(some.class_names),
            "batch_tokens": self.batch_tokens,
            "rounds": self.rounds,
            "threads": context.protocol.threads or cores(),
        }


def _measured(job: Mapping[str, Any], subject: Subject, context: Context) -> dict[str, Any]:
    """Raises `CannotMeasure` with the fresh process's own last words."""
    from tiku.artefact import write
    from tiku.core.recipe import Recipe

    folder = context.workdir / "training"
    folder.mkdir(exist_ok=True)
    write(subject, folder / "artefact", recipe=Recipe(), examples=job["texts"][:2])
    (folder / "job.json").write_text(json.dumps(job), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "tiku.methods.memory._training_probe", str(folder)],
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        words = done.stderr.strip().splitlines()
        raise CannotMeasure(
            "the fresh process that trains for a few steps failed",
            got=words[-1] if words else f"exit code {done.returncode}",
            next_step="train the model with finetune, and see what it says",
        )
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    slower = zip(found["seconds_recomputed"], found["seconds_kept"], strict=True)
    return {**found, "time_ratio": statistics.median(a / b for a, b in slower)}


def _environment() -> dict[str, str]:
    paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    return started_environment(_RETURNING, {**os.environ, "PYTHONPATH": paths})


METHOD = ActivationCheckpointing
