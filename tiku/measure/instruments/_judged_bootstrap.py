"""Bootstrap of statistics that need the items in order: many replicates from one sort.

A replicate is a weight per item (how often it was drawn), so nothing is sorted again.
Shape letters: R replicates, N items, C classes, B bins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["FloatArray", "calibration_sums", "mean_precisions", "replicated"]

FloatArray = NDArray[np.float64]
_CHUNK = 1 << 21  # weights held at a time


def replicated(
    statistic: Callable[[FloatArray], FloatArray],
    n: int,
    groups: NDArray[np.int64] | None,
    *,
    replicates: int,
    seed: int,
) -> FloatArray:
    """`statistic(weights_RN) -> (R,)` over multinomial weights of items, or of whole groups."""
    rng = np.random.default_rng(seed)
    parts = [statistic(weights) for weights in _weights(n, groups, replicates, rng)]
    return np.concatenate(parts)


def _weights(
    n: int, groups: NDArray[np.int64] | None, replicates: int, rng: np.random.Generator
) -> Iterator[FloatArray]:
    units = n if groups is None else int(groups.max()) + 1
    step = max(1, _CHUNK // n)
    for start in range(0, replicates, step):
        rows = min(step, replicates - start)
        drawn = rng.integers(units, size=(rows, units)) + np.arange(rows)[:, None] * units
        counts = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units)
        yield (counts if groups is None else counts[:, groups]).astype(np.float64)


def mean_precisions(truth: NDArray[np.int64], scores_NC: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """Weights to the mean of the classes' average precisions; a class without weight is left out.

    One column stands for the second of two classes.
    """
    columns = range(scores_NC.shape[1])
    codes = [1] if len(columns) == 1 else list(columns)
    parts = [_precision(truth == code, scores_NC[:, at]) for at, code in zip(columns, codes, strict=True)]

    def statistic(weights_RN: FloatArray) -> FloatArray:
        values = np.stack([part(weights_RN) for part in parts])
        held = ~np.isnan(values)
        mean: FloatArray = np.where(held, values, 0).sum(axis=0) / np.maximum(held.sum(axis=0), 1)
        return mean

    return statistic


def _precision(label: NDArray[np.bool_], scores: FloatArray) -> Callable[[FloatArray], FloatArray]:
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # last item of each equal score
    hit = label[order].astype(np.float64)

    def statistic(weights_RN: FloatArray) -> FloatArray:
        drawn = weights_RN[:, order]
        chosen = np.cumsum(drawn, axis=1)[:, ends]
        hits = np.cumsum(drawn * hit, axis=1)[:, ends]
        gained = np.diff(hits, axis=1, prepend=0)
        precision = np.divide(hits, chosen, out=np.zeros_like(hits), where=chosen > 0)
        total = hits[:, -1]
        sums = (gained * precision).sum(axis=1)
        mean: FloatArray = np.divide(sums, total, out=np.full_like(total, np.nan), where=total > 0)
        return mean

    return statistic


def calibration_sums(
    confidence: FloatArray, right: NDArray[np.bool_], edges: FloatArray
) -> Callable[[FloatArray], FloatArray]:
    """Weights to the expected calibration error with these bins, not bias-corrected."""
    codes = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, max(0, edges.size - 2))
    gap_NB = np.zeros((confidence.size, edges.size - 1 or 1))
    gap_NB[np.arange(confidence.size), codes] = confidence - right

    def statistic(weights_RN: FloatArray) -> FloatArray:
        error: FloatArray = np.abs(weights_RN @ gap_NB).sum(axis=1) / weights_RN.sum(axis=1)
        return error

    return statistic
