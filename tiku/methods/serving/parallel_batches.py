"""Several batches at once, each on its own cores, instead of all cores on one batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from tiku.artefact.predictor import cores
from tiku.core import registry
from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.runtime import Runtime
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support

__all__ = ["METHOD", "ParallelBatches"]


@dataclass(frozen=True)
class ParallelBatches(Method):
    """Batches run side by side over the same weights, each with its share of the threads.

    Threads that work on one batch wait for each other after every operator, and small operators keep one of
    them busy; threads with a batch each never wait. A single request has only its share of the threads: its
    latency grows where one batch would have gained from more.
    """

    name: ClassVar[str] = "parallel-batches"
    promise: ClassVar[float] = 0.85
    stage: ClassVar[Stage] = "serve"
    questions: ClassVar[tuple[str, ...]] = ("inference", "energy")
    title: ClassVar[Text] = Text("Batches side by side", "多批次并行")
    source: ClassVar[str] = "OpenVINO documentation, CPU Device: Multi-stream Execution"
    tasks: ClassVar[frozenset[str]] = frozenset({"text-classification"})

    streams: int = param(0, "batches at once; 0: one for each thread", low=0, high=1024)

    def supports(self, subject: Subject) -> Support:
        runtime: Runtime = registry.get("runtimes", subject.runtime)
        if not runtime.streams:
            return Support.no(
                f"{subject.runtime} runs one batch at a time",
                f"{subject.runtime} 一次只能运行一个批次",
            )
        if subject.serve.memory:
            return Support.no(
                "batches that keep to a memory limit run one after the other",
                "受内存上限约束的批次须逐个运行",
            )
        if (subject.serve.threads or cores()) == 1:
            return Support.no(
                "there is one core only: nothing runs side by side",
                "只有一个核，无法并行",
            )
        return Support.yes()

    def apply(self, subject: Subject, context: Context) -> Subject:
        threads = subject.serve.threads or context.protocol.threads or cores()
        streams = min(self.streams or threads, threads)
        return replace(subject, serve=replace(subject.serve, streams=streams))

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        return (cls(),) if cores() > 1 and not situation.device.startswith("cuda") else ()

    @classmethod
    def why_not(cls, situation: Situation) -> Text | None:
        """Why there is no trial of it on one core or on a GPU."""
        return Text(
            "batches run side by side on several cores; here is one, or a GPU",
            "多批次并行需要多个 CPU 核；此处只有一个核，或使用 GPU",
        )


METHOD = ParallelBatches
