"""Which weights have a task vector: all but a classification head that the ancestor lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tiku.core.subject import Subject
from tiku.methods.merge._arithmetic import Weights, mean

__all__ = ["headless", "shared"]


def shared(ancestor: Subject, weights: Weights) -> dict[str, Any]:
    """The ancestor's weights that it really had."""
    return {name: tensor for name, tensor in weights.items() if not _new(ancestor, name)}


def headless(ancestor: Subject, each: Sequence[Weights]) -> dict[str, Any]:
    """The models' mean of what the ancestor lacks."""
    names = [name for name in each[0] if _new(ancestor, name)]
    return mean([{name: weights[name] for name in names} for weights in each])


def _new(ancestor: Subject, name: str) -> bool:
    from tiku.models._labels import is_head

    return ancestor.facts.get("head") == "new" and is_head(ancestor.module, name)
