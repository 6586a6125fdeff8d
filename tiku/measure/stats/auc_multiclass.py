"""AUC-ROC of several classes, one against the rest."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiku.core.errors import DataError
from tiku.core.measured import Measured
from tiku.measure.stats._checks import as_codes, as_scores, check_level, group_codes
from tiku.measure.stats.auc import auc_influence, auc_roc, auc_roc_interval, logit_bounds

__all__ = ["Average", "auc_roc_multiclass", "auc_roc_per_class"]

Average = Literal["macro", "weighted"]


def _class_columns(
    y: ArrayLike, scores: ArrayLike, classes: ArrayLike | None
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    table = np.asarray(scores)
    present, _ = as_codes(y, names=("labels",))
    labels = np.asarray(y)
    known = present if classes is None else np.asarray(classes)
    if table.ndim != 2 or table.shape != (labels.size, known.size):
        raise DataError(
            "scores must have one row per item and one column per class",
            got=f"shape {table.shape}",
            allowed=f"shape ({labels.size}, {known.size})",
            next_step="pass classes=… in the order of the columns when some class has no items",
        )
    missing = np.setdiff1d(present, known)
    if missing.size or present.size < known.size:
        absent = np.setdiff1d(known, present)
        raise DataError(
            "each class needs items, and each label a class",
            got=f"absent {list(absent)}, unknown {list(missing)}",
            allowed="labels that cover exactly the classes",
            next_step="use a split that holds every class",
        )
    if known.size < 2:
        raise DataError(
            "labels hold one class only",
            got=list(known),
            allowed="2 or more classes",
            next_step="use a split that holds more classes",
        )
    return labels, table, known


def _check_average(average: str) -> None:
    if average not in get_args(Average):
        raise DataError("unknown average", got=average, allowed=get_args(Average), next_step="pass 'macro'")


def auc_roc_multiclass(
    y: ArrayLike,
    scores: ArrayLike,
    *,
    average: Average = "macro",
    classes: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    level: float = 0.95,
) -> Measured:
    """Mean one-against-rest AUC, plain (`macro`) or by class frequency (`weighted`), with its interval.

    `y` (n,) labels, `scores` (n, C) in the order of `classes` (C,) (sorted labels by default). The
    error adds the influence of each item over all classes (they share items), frequencies included;
    interval on the logit scale. Raises `DataError` if a class has no items.
    """
    labels, table, known = _class_columns(y, scores, classes)
    _check_average(average)
    alpha, codes = check_level(level), group_codes(groups, labels.size)
    share = np.array([np.mean(labels == name) for name in known]) if average == "weighted" else None
    values, influence = np.zeros(known.size), np.zeros(labels.size)
    for column, name in enumerate(known):
        hit, score = labels == name, as_scores(table[:, column])
        values[column] = auc_roc(hit, score)
        factor = 1 / known.size if share is None else share[column]
        influence += factor * auc_influence(hit, score)
        if share is not None:
            influence += values[column] * (hit - share[column]) / labels.size
    value = float(values.mean() if share is None else values @ share)
    units = influence if codes is None else np.bincount(codes, weights=influence)
    se = math.sqrt(float(units @ units) * units.size / (units.size - 1))
    smallest = int(np.unique(labels, return_counts=True)[1].min())
    low, high, name = _bounds(value, se, smallest, alpha)
    return Measured(value, low, high, labels.size, "1", "measured", f"{average} one-against-rest, {name}")


def _bounds(value: float, se: float, smallest: int, alpha: float) -> tuple[float, float, str]:
    if se > 0 and 0 < value < 1:
        low, high = logit_bounds(value, se, alpha)
        return min(low, value), max(high, value), "DeLong, logit"
    edge = float(alpha / 2) ** (1 / smallest)  # no error seen: exact bound from the smallest class
    return (edge, 1.0, "exact bound of the smallest class") if value > 0.5 else (0.0, 1 - edge, "exact bound")


def auc_roc_per_class(
    y: ArrayLike,
    scores: ArrayLike,
    *,
    classes: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    level: float = 0.95,
) -> dict[Any, Measured]:
    """One-against-rest AUC of each class with its interval; inputs as `auc_roc_multiclass`."""
    labels, table, known = _class_columns(y, scores, classes)
    return {
        name: auc_roc_interval(labels == name, table[:, column], groups, level=level)
        for column, name in enumerate(known.tolist())
    }
