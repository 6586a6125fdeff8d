"""Keys and values in buffers that are there before the tokens are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.serving._decoding import shares_batches

__all__ = ["METHOD", "StaticCache"]


@dataclass(frozen=True)
class StaticCache(Method):
    """Writes each token's keys and values once, into room for `tokens` tokens, instead of copying all of them
    into a longer array at every step. The text is the same.

    A step of T tokens copies the whole cache otherwise, and holds it twice while it does. Small beside the
    weights for short texts on a CPU; the longer the text, the more it is. Room that is not reached is
    address space and not memory, where the system gives pages on first use.
    """

    name: ClassVar[str] = "static-cache"
    promise: ClassVar[float] = 0.36
    stage: ClassVar[Stage] = "serve"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory")
    title: ClassVar[Text] = Text("Preallocated key/value cache", "预分配的键值缓存")
    source: ClassVar[str] = "transformers documentation, Cache strategies: static cache"
    tasks: ClassVar[frozenset[str]] = frozenset({"causal-lm"})
    slot: ClassVar[str | None] = "cache"

    tokens: int = param(1024, "tokens that a sequence has room for at first", low=1, high=1_000_000)

    def supports(self, subject: Subject) -> Support:
        if subject.runtime != "torch":
            return Support.no(
                f"tiku lays out the cache of the torch runtime only; {subject.runtime} keeps its own",
                f"tiku 仅能安排 torch 运行时的缓存；{subject.runtime} 自行管理其缓存",
            )
        return shares_batches(subject)

    def apply(self, subject: Subject, context: Context) -> Subject:
        options = {**subject.runtime_options, "cache_format": "static", "cache_tokens": self.tokens}
        config = subject.module.config.get_text_config()
        facts = {"tokens": self.tokens, "layers": int(config.num_hidden_layers)}
        return replace(subject, runtime_options=options, facts={**subject.facts, "static_cache": facts})


METHOD = StaticCache
