"""The batch size that this model, on this machine, answers fastest with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from tiku.artefact.predictor import cores
from tiku.core.config import param
from tiku.core.method import Context, Method, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.serving._racing import opened_trial, race, with_serve_fact, work_texts

__all__ = ["METHOD", "BatchTuning"]

_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class BatchTuning(Method):
    """Times the calibration texts in batches of several sizes, alternating, and keeps the fastest.

    The present size stays unless another one wins three rounds of four and saves 2 %.
    """

    name: ClassVar[str] = "batch-tuning"
    promise: ClassVar[float] = 0.55
    stage: ClassVar[Stage] = "serve"
    questions: ClassVar[tuple[str, ...]] = ("inference", "energy")
    title: ClassVar[Text] = Text("Tuned batch size", "批大小调优")
    source: ClassVar[str] = "measured on the machine at hand"
    tasks: ClassVar[frozenset[str]] = frozenset({"text-classification"})

    smallest: int = param(4, "smallest batch tried", low=1, high=256)
    largest: int = param(128, "largest batch tried", low=1, high=256)
    texts: int = param(128, "calibration texts per round", low=8, high=4096)
    rounds: int = param(4, "rounds per size", low=3, high=100)

    def supports(self, subject: Subject) -> Support:
        if self.smallest > self.largest:
            return Support.no("the smallest batch is larger than the largest", "最小批大小超过了最大批大小")
        if subject.serve.token_budget is not None:
            return Support.no(
                "a token budget decides the batches; a batch size would have no effect",
                "批次已由词元预算决定，批大小不再起作用",
            )
        return Support.yes()

    def apply(self, subject: Subject, context: Context) -> Subject:
        texts = work_texts(context, self.texts)
        present = subject.serve.batch_size
        threads = subject.serve.threads or context.protocol.threads or cores()
        within = (s for s in _SIZES if self.smallest <= s <= min(self.largest, len(texts)))
        sizes = sorted({present, *within})
        with opened_trial(subject, context, [threads]) as (model,):
            serve = model.serve

            def run(size: int) -> None:
                model.serve = replace(serve, batch_size=size)
                model.predict(texts)

            found = race(run, sizes, present, self.rounds, context.progress)
        return with_serve_fact(subject, "batch_tuning", found, batch_size=found.winner)


METHOD = BatchTuning
