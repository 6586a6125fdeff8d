"""Proper scores of predicted probabilities: log-loss and Brier."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiku.core.errors import DataError
from tiku.core.measured import Measured
from tiku.measure.stats._checks import (
    FloatArray,
    IntArray,
    as_binary,
    as_codes,
    as_probabilities,
    same_length,
)
from tiku.measure.stats.means import mean_interval

__all__ = ["SMALLEST_PROBABILITY", "brier", "brier_items", "log_loss", "log_loss_items"]

SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)  # log-loss clips here, as scikit-learn does
_ROUNDING = 1e-3  # rows may miss a sum of 1 by this much (half precision), and are then normalised


def probability_table(
    y: ArrayLike, p: ArrayLike, classes: ArrayLike | None = None
) -> tuple[IntArray, FloatArray]:
    """Column index of each label (n,), and probabilities (n, C).

    `p` is (n,), the chance of label 1, or (n, C) with rows that sum to 1, columns in the order of
    `classes` (0 … C-1 by default).
    """
    table = np.asarray(p)
    if table.ndim == 1:
        truth, chance = as_binary(y), as_probabilities(table)
        same_length({"labels": truth, "probabilities": chance})
        return truth.astype(np.int64), np.column_stack([1 - chance, chance])
    if table.ndim != 2 or 0 in table.shape:
        raise DataError(
            "probabilities must have shape (n,) or (n, C)",
            got=f"shape {table.shape}",
            allowed="(n,), (n, C)",
            next_step="pass one row per item",
        )
    flat = as_probabilities(table.reshape(-1)).reshape(table.shape)
    sums = flat.sum(axis=1)
    if np.abs(sums - 1).max() > _ROUNDING:
        worst = int(np.abs(sums - 1).argmax())
        raise DataError(
            "each row of probabilities must sum to 1",
            got=f"{sums[worst]:g} in row {worst}",
            allowed="1",
            next_step="apply softmax over the classes",
        )
    return _columns(y, table.shape, classes), flat / sums[:, None]


def _columns(y: ArrayLike, shape: tuple[int, ...], classes: ArrayLike | None) -> IntArray:
    known: NDArray[Any] = np.arange(shape[1]) if classes is None else np.asarray(classes)
    present, (codes,) = as_codes(y, names=("labels",))
    if codes.size != shape[0] or known.size != shape[1]:
        raise DataError(
            "labels, classes and probabilities differ in shape",
            allowed="n labels, C classes, (n, C) probabilities",
            got=f"{codes.size} labels, {known.size} classes, {shape}",
            next_step="pass the same items",
        )
    places = [np.flatnonzero(known == name) for name in present]
    if any(place.size != 1 for place in places):
        raise DataError(
            "a label has no column of probabilities",
            got=present.tolist(),
            allowed=map(str, known.tolist()),
            next_step="pass classes=… in the order of the columns",
        )
    return np.concatenate(places)[codes]


def log_loss_items(y: ArrayLike, p: ArrayLike, *, classes: ArrayLike | None = None) -> FloatArray:
    """Negative log of the label's probability per item, in nats, shape (n,); clipped at 2.2e-16."""
    truth, table = probability_table(y, p, classes)
    chance = table[np.arange(truth.size), truth]
    return -np.log(np.clip(chance, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY))


def log_loss(
    y: ArrayLike,
    p: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    classes: ArrayLike | None = None,
    level: float = 0.95,
) -> Measured:
    """Mean log-loss in nats with an interval bent for skewness (ABC, DiCiccio and Efron 1992).

    `y` (n,), `p` (n,) or (n, C): see `probability_table`. With `groups` (n,) the error is cluster-robust.
    """
    items = log_loss_items(y, p, classes=classes)
    return _not_negative(mean_interval(items, groups, method="abc", level=level))


def brier_items(y: ArrayLike, p: ArrayLike, *, classes: ArrayLike | None = None) -> FloatArray:
    """Squared error per item, shape (n,): (p - y)^2 for `p` (n,), summed over classes for `p` (n, C)."""
    truth, table = probability_table(y, p, classes)
    hot = np.zeros_like(table)
    hot[np.arange(truth.size), truth] = 1
    squares: FloatArray = ((table - hot) ** 2).sum(axis=1)
    return squares / 2 if np.ndim(p) == 1 else squares


def brier(
    y: ArrayLike,
    p: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    classes: ArrayLike | None = None,
    level: float = 0.95,
) -> Measured:
    """Mean Brier score with an interval bent for skewness (ABC).

    Binary `p` (n,): 0 … 1 (the usual half scale). Several classes (n, C): Brier's own sum, 0 … 2.
    """
    items = brier_items(y, p, classes=classes)
    return _not_negative(mean_interval(items, groups, method="abc", level=level))


def _not_negative(measured: Measured) -> Measured:
    return replace(measured, low=None if measured.low is None else max(0.0, measured.low))
