"""Rounding to the nearest code, layer by layer: the methods without calibration data."""

from __future__ import annotations

from dataclasses import replace

from tiku.core.method import Context
from tiku.core.subject import Subject
from tiku.methods.quantize._grid import GridKind, round_to_nearest
from tiku.methods.quantize._weight_only import HEAD_KIND, put, report_of, stored_as, working_copy

__all__ = ["rounded"]


def rounded(
    subject: Subject, context: Context, kind: GridKind, method: str, *, quantize_head: bool
) -> Subject:
    """A copy whose linear layers hold their nearest codes."""
    copied, targets = working_copy(subject, quantize_head=quantize_head)
    report, head_kind = report_of(targets, kind), replace(HEAD_KIND, bf16_scales=kind.bf16_scales)
    for done, layer in enumerate(targets.layers):
        context.progress(done, len(targets.layers), layer.name)
        put(copied.module, layer, round_to_nearest(layer.weight(), head_kind if layer.head else kind))
    return stored_as(copied, kind, method, report, {"quantize_head": quantize_head})
