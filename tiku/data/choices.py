"""Questions with several options, one of them right."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from tiku.core.data import Dataset
from tiku.core.hashing import hash_of
from tiku.data.normal import normal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Choices"]


@dataclass(frozen=True)
class Choices(Dataset):
    """N questions. `contexts[i]` is what the model reads, `options[i]` are the continuations that are
    compared, `answers[i]` is the index of the right one.

    Contexts end and options begin without white space; a model reads the context, `delimiter`, and
    an option. Options are texts and not letters: small models rank continuations well above chance
    where they cannot yet follow letters (Gu et al. 2024, OLMES: cloze formulation).
    """

    kind: ClassVar[str] = "choices"
    tasks: ClassVar[frozenset[str]] = frozenset({"causal-lm"})

    name: str
    contexts: tuple[str, ...]
    options: tuple[tuple[str, ...], ...]
    answers: tuple[int, ...]
    group_ids: tuple[Hashable, ...] | None = None
    delimiter: str = " "

    def __len__(self) -> int:
        return len(self.contexts)

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> Self:
        """The questions at these positions, in this order."""
        at = [int(i) for i in indices]
        groups = self.group_ids
        return replace(
            self,
            contexts=tuple(self.contexts[i] for i in at),
            options=tuple(self.options[i] for i in at),
            answers=tuple(self.answers[i] for i in at),
            group_ids=None if groups is None else tuple(groups[i] for i in at),
        )

    def sha256(self) -> str:
        """Hash of contexts, options, answers, groups and the delimiter."""
        groups = None if self.group_ids is None else [str(g) for g in self.group_ids]
        return hash_of(self.kind, self.delimiter, self.contexts, self.options, self.answers, groups)

    def keys(self) -> Sequence[str]:
        """The normalised context with its options in any order."""
        return [
            "\x1f".join([normal(context), *sorted(map(normal, options))])
            for context, options in zip(self.contexts, self.options, strict=True)
        ]

    def inputs(self) -> Sequence[str]:
        """What the model reads before the options."""
        return self.contexts

    def answer_texts(self) -> Sequence[str]:
        """The right option of each question, normalised."""
        return [normal(o[a]) for o, a in zip(self.options, self.answers, strict=True)]

    def worked(self) -> tuple[str, ...]:
        """Each question with its right answer, as a model would read it."""
        return tuple(
            context + self.delimiter + options[answer]
            for context, options, answer in zip(self.contexts, self.options, self.answers, strict=True)
        )

    def groups(self) -> Sequence[Hashable] | None:
        """Group per question (the passage it asks about), where the data name one."""
        return self.group_ids
