"""What the two structural prunings share: look at calibration texts, cut, check, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tiku.core.method import Context
from tiku.core.subject import Subject
from tiku.methods.prune._calibration import Batch, calibration_batches
from tiku.methods.prune._cutting import count_parameters, cut_network
from tiku.methods.prune._narrowing import narrow_network
from tiku.methods.prune._planning import Shares, plan_cut
from tiku.methods.prune._stream import choose_channels, is_layer_norm, norms_of, width_of

__all__ = ["pruned"]


def pruned(
    subject: Subject, context: Context, shares: Shares, *, tokens: int, max_length: int, fact: str
) -> Subject:
    """The subject with a smaller module; `facts[fact]` says what stayed. Raises `DataError`, `ModelError`."""
    batches = calibration_batches(subject, context, tokens=tokens, max_length=max_length)
    cut, facts = plan_cut(subject.module, shares, batches, context.progress)
    module = cut_network(subject.module, cut, batches[0])
    if shares.width < 1.0:
        module, told = _narrowed(module, shares, batches, context)
        facts |= told
    facts |= {
        "calibration_tokens": int(sum(int(batch.mask_BT.sum()) for batch in batches)),
        "parameters_before": count_parameters(subject.module),
        "parameters": count_parameters(module),
    }
    return replace(subject, module=module, facts={**subject.facts, fact: facts})


def _narrowed(
    module: Any, shares: Shares, batches: Sequence[Batch], context: Context
) -> tuple[Any, dict[str, Any]]:
    """The network with fewer channels between its blocks, and facts about it."""
    width = width_of(module, shares.width)
    channels = choose_channels(module, width, shares.importance, batches, context.progress)
    facts: dict[str, Any] = {"width_before": int(module.config.hidden_size), "width": width}
    changed = sum(map(is_layer_norm, norms_of(module).values()))
    if changed:
        facts["layer_norms_over_fewer_channels"] = changed
    if channels.heads:
        facts |= {"importance": shares.importance, "heads": len(channels.heads[0])}
    return narrow_network(module, channels, batches[0]), facts
