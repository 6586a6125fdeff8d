"""The thread count that this model, on this machine, answers fastest with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

from tiku.artefact import OpenedArtefact
from tiku.artefact.predictor import cores
from tiku.core.config import param
from tiku.core.method import Context, Method, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.serving._racing import opened_trial, race, with_serve_fact, work_texts

__all__ = ["METHOD", "ThreadTuning"]

# Of a language model's round: decoding decides, so few prompts and many steps.
_PROMPTS = 2
_PROMPT_CHARACTERS = 500
_STEPS = 16


@dataclass(frozen=True)
class ThreadTuning(Method):
    """Times the calibration texts with several thread counts, alternating, and keeps the fastest.

    A language model continues a few of them, token by token, instead. Small models and single requests
    often lose more to synchronisation than they gain from a further core. The present count stays
    unless another one wins three rounds of four and saves 2 %.
    """

    name: ClassVar[str] = "thread-tuning"
    promise: ClassVar[float] = 0.65
    stage: ClassVar[Stage] = "serve"
    questions: ClassVar[tuple[str, ...]] = ("inference", "energy")
    title: ClassVar[Text] = Text("Tuned thread count", "线程数调优")
    source: ClassVar[str] = "measured on the machine at hand"
    tasks: ClassVar[frozenset[str]] = frozenset({"text-classification", "causal-lm"})

    goal: str = param(
        "throughput",
        "throughput: batches as served; latency: one text at a time",
        choices=("throughput", "latency"),
    )
    texts: int = param(64, "calibration texts per round", low=4, high=4096)
    rounds: int = param(5, "rounds per thread count", low=3, high=100)

    def supports(self, subject: Subject) -> Support:
        if cores() == 1:
            return Support.no(
                "this process may use one core only; there is nothing to choose",
                "本进程只能使用一个核，无可选择",
            )
        return Support.yes()

    def apply(self, subject: Subject, context: Context) -> Subject:
        texts = work_texts(context, self.texts)
        run = _continue if subject.task == "causal-lm" else self._answer
        allowed = context.protocol.threads or cores()
        present = min(subject.serve.threads or allowed, allowed)
        counts = sorted({1, max(1, allowed // 4), max(1, allowed // 2), present, allowed})
        with opened_trial(subject, context, counts) as models:
            by_count = dict(zip(counts, models, strict=True))
            found = race(
                lambda count: run(by_count[count], texts), counts, present, self.rounds, context.progress
            )
        return with_serve_fact(subject, "thread_tuning", found, threads=found.winner)

    def _answer(self, model: OpenedArtefact, texts: Sequence[Any]) -> None:
        if self.goal == "throughput":
            model.predict(texts)
        else:
            for text in texts:
                model.predict([text])


def _continue(model: OpenedArtefact, texts: Sequence[Any]) -> None:
    """The same number of decoding steps for every thread count: the text itself is fed, token by token."""
    import numpy as np

    for encoding in model.encode([text[:_PROMPT_CHARACTERS] for text in texts[:_PROMPTS]]):
        tokens, cache = np.asarray([encoding["input_ids"]], dtype=np.int64), None
        prompt = max(1, tokens.shape[1] - _STEPS)
        for start, end in pairwise((0, *range(prompt, tokens.shape[1] + 1))):
            _, cache = model.session.extend(tokens[:, start:end], cache, last_only=True)


METHOD = ThreadTuning
