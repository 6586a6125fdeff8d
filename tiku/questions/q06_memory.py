"""Question 6: How is memory kept low?"""

from __future__ import annotations

from typing import ClassVar

from tiku.core.method import Situation
from tiku.core.question import Evidence, Proposal, Question
from tiku.core.recipe import Recipe
from tiku.core.text import Text
from tiku.questions._by_methods import MethodQuestion
from tiku.questions._foretold import foretold
from tiku.questions._pools import arenas_gave, without_arena
from tiku.questions._training_peaks import training_peaks

__all__ = ["QUESTION"]

_ARENA_OFF = 0.52  # after the methods that change what is kept, before those that seldom pay


class Memory(MethodQuestion):
    """Judged by the metrics below; the methods are those that name this question."""

    id = "memory"
    number = 6
    title = Text("How is memory kept low?", "如何降低内存消耗？")
    metrics: ClassVar[tuple[str, ...]] = ("peak_memory", "artefact_size", "training_memory")
    gains: ClassVar[tuple[str, ...]] = ("peak_memory", "artefact_size")

    def propose(self, situation: Situation) -> tuple[Proposal, ...]:
        """Also each runtime without its arena, so that keeping freed memory is measured both ways."""
        apart = [
            Proposal(Recipe.of(method), self.id, priority=_ARENA_OFF) for method in without_arena(situation)
        ]
        return tuple(sorted((*super().propose(situation), *apart), key=lambda p: -p.priority))

    def caveats(self, evidence: Evidence) -> tuple[Text, ...]:
        """Also what was predicted, what a runtime's arena gave, and what training took."""
        own = (*arenas_gave(evidence), *training_peaks(evidence))
        return (*foretold(evidence), *super().caveats(evidence), *own)


QUESTION: Question = Memory()
