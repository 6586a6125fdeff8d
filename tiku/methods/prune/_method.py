"""What the two structural prunings share: look at calibration texts, cut, check, report."""

from __future__ import annotations

from dataclasses import replace

from tiku.core.method import Context
from tiku.core.subject import Subject
from tiku.methods.prune._calibration import calibration_batches
from tiku.methods.prune._cutting import count_parameters, cut_network
from tiku.methods.prune._planning import Shares, plan_cut

__all__ = ["pruned"]


def pruned(
    subject: Subject, context: Context, shares: Shares, *, tokens: int, max_length: int, fact: str
) -> Subject:
    """The subject with a smaller module; `facts[fact]` says what stayed. Raises `DataError`, `ModelError`."""
    batches = calibration_batches(subject, context, tokens=tokens, max_length=max_length)
    cut, facts = plan_cut(subject.module, shares, batches, context.progress)
    module = cut_network(subject.module, cut, batches[0])
    facts |= {
        "calibration_tokens": int(sum(int(batch.mask_BT.sum()) for batch in batches)),
        "parameters_before": count_parameters(subject.module),
        "parameters": count_parameters(module),
    }
    return replace(subject, module=module, facts={**subject.facts, fact: facts})
