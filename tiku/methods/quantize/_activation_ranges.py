"""The ranges of linear layers' inputs on calibration texts, and SmoothQuant's migration before them.

Shape letters: O outputs, I inputs, n rows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiku.core.errors import DataError
from tiku.core.method import Context
from tiku.core.subject import Subject
from tiku.methods.quantize._calibration import SharedInput, shared_inputs, statistics
from tiku.methods.quantize._calibration_texts import CalibrationTexts, choose_texts
from tiku.methods.quantize._folding import Fold, find_folds
from tiku.methods.quantize._grid import GridKind
from tiku.methods.quantize._targets import patterns
from tiku.methods.quantize._weight_only import report_of, working_copy

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Ranges", "calibrate", "range_of", "smoothing_scale"]

_FEWEST = 128  # tokens: below, the range of a tensor is that of a few words
_KEPT_ROWS = 1_024  # for percentiles


@dataclass(frozen=True, eq=False)
class Ranges:
    """A smoothed copy of the subject, (low, high) of each layer's input, and what there is to report."""

    subject: Subject
    ranges: dict[str, list[float]]
    report: dict[str, Any]


def calibrate(
    subject: Subject, context: Context, *, smooth: float | None, percentile: float, tokens: int, window: int
) -> Ranges:
    """Raises `DataError` without enough texts and `ModelError` on numbers that are not finite."""
    copied, targets = working_copy(subject, quantize_head=False)
    report = report_of(targets, GridKind(8, None, symmetric=True))
    texts = choose_texts(copied, context, tokens=tokens, window=window)
    _refuse_few(texts)
    layers = list(targets.layers)
    folds = {} if smooth is None else find_folds(copied, shared_inputs(copied, layers, texts), texts)
    every = 0 if percentile == 100 else max(1, texts.facts["tokens"] // _KEPT_ROWS)
    found = Ranges(copied, {}, {**report, "calibration": dict(texts.facts)})
    smoothed: list[str] = []
    for group in statistics(copied, layers, texts, context.progress, hessians=False, every=every):
        fold = folds.get(group.layers[0].name) if group.rows else None
        scale_I = None if fold is None or smooth is None else _smooth(copied, group, fold, smooth)
        smoothed += [layer.name for layer in group.layers if scale_I is not None]
        if group.rows:
            limits = range_of(group, percentile, scale_I)
            found.ranges.update({layer.name: list(limits) for layer in group.layers})
    _tell(found.report, [layer.name for layer in layers], found.ranges, smooth, smoothed)
    copied.module.eval()
    return found


def _smooth(subject: Subject, group: SharedInput, fold: Fold, alpha: float) -> Tensor:
    """Divide the group's input by the scale that is returned, and multiply its weights by it. In place."""
    scale_I = smoothing_scale(group.absmax, [layer.weight() for layer in group.layers], alpha)
    fold.divide(subject.module, scale_I)
    for layer in group.layers:
        layer.set_weight(layer.weight() * scale_I)
    return scale_I


def _tell(
    report: dict[str, Any],
    names: Sequence[str],
    reached: Collection[str],
    smooth: float | None,
    smoothed: Sequence[str],
) -> None:
    """Which layers were smoothed, which had no exact fold, and which no token reached."""
    if smooth is not None:
        rest = [name for name in names if name in reached and name not in smoothed]
        report["smooth"] = {"alpha": smooth, "layers": len(smoothed), "without_exact_fold": len(rest)}
        if rest:
            report["smooth"]["not_smoothed"] = patterns(rest)
    if unreached := [name for name in names if name not in reached]:
        report["left_in_float32_as_no_token_reached_them"] = patterns(unreached)


def smoothing_scale(absmax_I: Tensor, weights_OI: Sequence[Tensor], alpha: float) -> Tensor:
    """max|x|^alpha / max|w|^(1 - alpha) per input (Xiao et al. 2023, equation 4), around 1, at most 1e4 from
    the smallest to the largest; inputs that never fired, or that nothing reads, keep 1."""
    import torch

    absmax_w_I = torch.stack([weight.abs().amax(0) for weight in weights_OI]).amax(0)
    alive = (absmax_I > 0) & (absmax_w_I > 0)
    if not alive.any():
        return torch.ones_like(absmax_I)
    logs = alpha * absmax_I.log() - (1 - alpha) * absmax_w_I.log()
    scale = (logs - logs[alive].mean()).exp().clamp(1e-2, 1e2)
    return torch.where(alive, scale, 1.0)


def range_of(group: SharedInput, percentile: float, scale_I: Tensor | None = None) -> tuple[float, float]:
    """The range of the whole tensor once it is divided by the scale: all of it, or between percentiles."""
    import torch

    scale = torch.ones_like(group.low_I) if scale_I is None else scale_I
    low, high = float((group.low_I / scale).min()), float((group.high_I / scale).max())
    if percentile == 100:
        return low, high
    ordered = (torch.cat(group.kept) / scale).flatten().sort().values
    last = len(ordered) - 1
    at = round(percentile / 100 * last)
    return min(0.0, float(ordered[last - at])), max(0.0, float(ordered[at]))


def _refuse_few(texts: CalibrationTexts) -> None:
    if texts.facts["tokens"] < _FEWEST:
        raise DataError(
            "there is too little to take the ranges of activations from",
            got=f"{texts.facts['tokens']} tokens in {texts.facts['texts']} texts",
            allowed=f"{_FEWEST} tokens or more in the calibration part",
            next_step="give more data, or choose int8-dynamic, which needs none",
        )
