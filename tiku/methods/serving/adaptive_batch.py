"""Batches that grow and shrink to stay within a memory limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from tiku.core.config import param
from tiku.core.errors import CannotMeasure
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.serving._decoding import shares_batches

__all__ = ["METHOD", "AdaptiveBatch"]

_MB = 1_000_000
_LENGTHS = (32, 128)  # of the passes whose memory is imagined; shorter where the model's limit is


@dataclass(frozen=True)
class AdaptiveBatch(Method):
    """Sizes each batch by the memory it will take, and halves it when memory ends.

    The bytes of a pass are predicted from the model's own operators, without running them: so much for each
    token, and so much for each pair of tokens. Batches begin with one request, the longest; each that sets a
    new peak corrects the prediction; the next may take twice as much. A language model answers as many
    requests at once as their caches have room for. One request is never refused because of a prediction.
    """

    name: ClassVar[str] = "adaptive-batch"
    promise: ClassVar[float] = 0.6
    stage: ClassVar[Stage] = "serve"
    questions: ClassVar[tuple[str, ...]] = ("memory",)
    title: ClassVar[Text] = Text("Batch size by a memory limit", "按内存上限自适应批大小")
    source: ClassVar[str] = "Gugger et al. 2022, Accelerate: find_executable_batch_size"
    tasks: ClassVar[frozenset[str]] = frozenset({"text-classification", "causal-lm"})

    limit_mb: int = param(0, "resident memory of the process, in MB; 0: what is free", low=0, high=10**7)
    batch_mb: int = param(0, "memory of one batch beside the model, in MB; 0: no bound", low=0, high=10**7)
    largest: int = param(256, "requests in a batch at most", low=1, high=65_536)

    def supports(self, subject: Subject) -> Support:
        if subject.serve.token_budget is not None:
            return Support.no(
                "a token budget decides the batches already",
                "批次已由词元预算决定",
            )
        held = sum(p.nbytes for p in subject.module.parameters())
        if self.limit_mb and self.limit_mb * _MB <= held and subject.runtime == "torch":
            return Support.no(
                f"the weights alone take {held / _MB:.0f} MB, and the limit is {self.limit_mb} MB",
                f"仅权重就占 {held / _MB:.0f} MB，而上限为 {self.limit_mb} MB",
            )
        if subject.task != "causal-lm":
            return Support.yes()
        if subject.serve.speculation is not None:
            return Support.no(
                "requests with drafted tokens are answered one at a time: there is no batch to size",
                "带草稿解码的请求逐个处理，没有可调的批大小",
            )
        return shares_batches(subject)

    def apply(self, subject: Subject, context: Context) -> Subject:
        own = {"limit_mb": self.limit_mb, "batch_mb": self.batch_mb, "largest": self.largest}
        settings = {**own, **_rates(subject)}
        facts = {**subject.facts, "adaptive_batch": settings}
        return replace(subject, serve=replace(subject.serve, memory=settings), facts=facts)

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        """For encoders; the peak of a language model is taken from one request, which has no batch."""
        return (cls(batch_mb=32),) if situation.task == "text-classification" else ()

    @classmethod
    def why_not(cls, situation: Situation) -> Text | None:
        """Why a language model has no trial of it."""
        return Text(
            "the peak of a language model is taken from one request, with no batch to size; with a limit "
            "of yours `tiku apply` builds it",
            "语言模型的内存峰值取自单个请求，没有可调的批大小；可自定上限，用 `tiku apply` 构建",
        )


def _rates(subject: Subject) -> Mapping[str, float]:
    """Bytes for each token, for each pair of tokens, and kept in a cache; zeros where a pass cannot be
    followed without running it: the first batches then tell."""
    from tiku.models._live_memory import imagined, run

    keep = subject.task == "causal-lm"
    config = getattr(subject.module, "config", None)
    limit = getattr(config, "max_position_embeddings", None) or _LENGTHS[1]
    short, long = (min(length, max(2, limit // 2 * (1 + i))) for i, length in enumerate(_LENGTHS))
    try:
        with imagined(_OwnClass(type(subject.module)), config) as module:
            few, many = (run(module, 1, length, keep_cache=keep) for length in (short, long))
    except CannotMeasure:
        return {"token_bytes": 0.0, "pair_bytes": 0.0, "cache_bytes": _kept_at_most(config) if keep else 0.0}
    less, more = ((one.peak - one.cache) / n for one, n in ((few, short), (many, long)))
    pairs = max(0.0, (more - less) / (long - short))
    tokens = max(0.0, more - pairs * long)
    return {"token_bytes": tokens, "pair_bytes": pairs, "cache_bytes": many.cache / long}


@dataclass(frozen=True)
class _OwnClass:
    """Makes a module of this class from its config, as transformers' automatic classes do."""

    kind: Any

    def from_config(self, config: Any, dtype: Any) -> Any:
        return self.kind._from_config(config, dtype=dtype)


def _kept_at_most(config: Any) -> float:
    """Bytes per token of keys and values in float32 in every layer."""
    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return float(2 * text.num_hidden_layers * heads * width * 4)


METHOD = AdaptiveBatch
