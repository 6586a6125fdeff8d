"""Draft tokens that are looked up in the text so far."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.serving._decoding import rewinds

__all__ = ["METHOD", "PromptLookupMethod"]


@dataclass(frozen=True)
class PromptLookupMethod(Method):
    """Where the last two or three tokens stood before, what followed then is proposed, and one forward
    pass checks all of it. Greedy text stays the same; the gain is that of text that repeats itself.
    """

    name: ClassVar[str] = "prompt-lookup"
    promise: ClassVar[float] = 0.83
    stage: ClassVar[Stage] = "serve"
    questions: ClassVar[tuple[str, ...]] = ("inference", "energy")
    title: ClassVar[Text] = Text("Prompt-lookup decoding", "提示查找解码")
    source: ClassVar[str] = "Saxena 2023, Prompt Lookup Decoding; Leviathan et al. 2023"
    tasks: ClassVar[frozenset[str]] = frozenset({"causal-lm"})
    slot: ClassVar[str | None] = "decoding"

    draft_tokens: int = param(8, "tokens proposed at most for one forward pass", low=1, high=64)

    def supports(self, subject: Subject) -> Support:
        return rewinds(subject)

    def apply(self, subject: Subject, context: Context) -> Subject:
        serve = replace(subject.serve, speculation=self.name, draft_tokens=self.draft_tokens)
        return replace(subject, serve=serve)

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        return (cls(),) if situation.budget == "quick" else (cls(), cls(4))


METHOD = PromptLookupMethod
