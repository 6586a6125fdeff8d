"""The student: cut from its teacher, or a smaller model that was given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tiku.core import registry
from tiku.core.errors import ModelError
from tiku.core.family import Family
from tiku.core.method import Context
from tiku.core.subject import Subject
from tiku.methods.prune._calibration import calibration_batches
from tiku.methods.prune._cutting import cut_network
from tiku.methods.prune._layout import find_blocks, find_layout
from tiku.methods.prune._planning import Shares, plan_cut

__all__ = ["Student", "cut_student", "given_student"]

_CALIBRATION_TOKENS = 4096


@dataclass(frozen=True)
class Student:
    """An untaught network. Its block i is compared with the teacher's block `matches[i]`; none where the
    hidden states have other widths."""

    module: Any
    matches: Sequence[int]
    facts: dict[str, Any]


def cut_student(subject: Subject, context: Context, shares: Shares, max_length: int) -> Student:
    """Shares of the teacher's own blocks, neurons and heads. A kept block stands for itself and for those
    dropped after it. Raises `DataError`, `ModelError`."""
    batches = calibration_batches(subject, context, tokens=_CALIBRATION_TOKENS, max_length=max_length)
    cut, facts = plan_cut(subject.module, shares, batches, context.progress)
    matches = [later - 1 for _, later in pairwise(cut.blocks)] + [facts["blocks_before"] - 1]
    return Student(cut_network(subject.module, cut, batches[0]), matches, facts)


def given_student(subject: Subject, source: str, context: Context, *, relations: bool) -> Student:
    """A model of the same family and tokenizer; its blocks stand for equal stretches of the teacher's.

    Raises `ModelError` where it cannot be loaded, or reads other tokens than the teacher.
    """
    family: Family = registry.get("models", subject.family)
    given = family.load(source, labels=subject.labels, cache=context.workdir, seed=context.protocol.seed)
    if given.processor.get_vocab() != subject.processor.get_vocab():
        raise _unfit("reads other tokens than its teacher", source, "a model with the teacher's tokenizer")
    own, other = find_blocks(given.module), find_blocks(subject.module)
    if own is None or other is None:
        raise _unfit("is not one stack of equal blocks", source, "an encoder or a decoder")
    if relations and find_layout(own) is None:
        raise _unfit("has fused queries, keys and values: no relations to match", source, "relations: 0")
    facts: dict[str, Any] = {"student": source, "blocks_before": len(other), "blocks": len(own)}
    if given.module.config.hidden_size != subject.module.config.hidden_size:
        facts["hidden_states"] = "not compared: student and teacher have other widths"
        return Student(given.module, [], facts)
    return Student(given.module, [(i + 1) * len(other) // len(own) - 1 for i in range(len(own))], facts)


def _unfit(what: str, source: str, allowed: str) -> ModelError:
    return ModelError(
        f"the given student {what}", got=source, allowed=allowed,
        next_step="give another folder, or leave student empty: it is then cut from the teacher",
    )  # fmt: skip
