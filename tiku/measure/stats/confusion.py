"""Accuracy, precision, recall, F1, MCC and balanced accuracy, each with an interval."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiku.core.errors import DataError, UnknownName
from tiku.core.measured import Measured
from tiku.measure.stats._checks import FloatArray, IntArray, as_codes, check_level, group_codes
from tiku.measure.stats._confusion import BINARY, OVERALL, binary_statistic
from tiku.measure.stats._resample import (
    DEFAULT_REPLICATES,
    RowTypes,
    Statistic,
    cluster_rows,
    resampled_interval,
)
from tiku.measure.stats.proportions import clopper_pearson_bounds, wilson_bounds

__all__ = [
    "CONFUSION_METRICS",
    "Predictions",
    "confusion_interval",
    "confusion_matrix",
    "confusion_metric",
    "confusion_per_class",
]

CONFUSION_METRICS: tuple[str, ...] = tuple(sorted({*BINARY, *OVERALL}))


@dataclass(frozen=True)
class Predictions:
    """Labels and predictions as codes (n,) over one sorted list of classes (K,)."""

    classes: NDArray[Any]
    truth: IntArray
    predicted: IntArray

    @classmethod
    def of(cls, y: ArrayLike, predicted: ArrayLike) -> Predictions:
        """Encode; raises `DataError` on lengths or kinds that differ."""
        classes, codes = as_codes(y, predicted, names=("labels", "predictions"))
        return cls(classes, *codes)

    def matrix(self) -> IntArray:
        """Counts (K, K): row is the label, column the prediction."""
        k = self.classes.size
        return np.bincount(self.truth * k + self.predicted, minlength=k * k).reshape(k, k)


def statistic_of(name: str, classes: NDArray[Any], positive: object = None) -> Statistic:
    """The function of totals behind a metric name; binary names need a positive class."""
    if name in OVERALL:
        return OVERALL[name]
    if name not in BINARY:
        near = difflib.get_close_matches(name, CONFUSION_METRICS, n=1)
        raise UnknownName(
            "no such metric of the confusion matrix",
            got=name,
            allowed=CONFUSION_METRICS,
            next_step=f"did you mean {near[0]}?" if near else "pick one of the allowed names",
        )
    return binary_statistic(name, _positive_code(name, classes, positive))


def _positive_code(name: str, classes: NDArray[Any], positive: object) -> int:
    if positive is None:
        if classes.size <= 2 and set(classes.tolist()) <= {0, 1} and 1 in classes.tolist():
            return int(np.flatnonzero(classes == 1)[0])
        raise DataError(
            f"{name} needs to know the positive class",
            got=f"classes {classes.tolist()}",
            allowed="labels 0 and 1, or positive=CLASS",
            next_step=f"pass positive=…, or use {name}_macro",
        )
    found = np.flatnonzero(classes == np.asarray(positive))
    if found.size != 1:
        raise DataError(
            "the positive class does not occur",
            got=positive,
            allowed=map(str, classes.tolist()),
            next_step="pass one of the classes",
        )
    return int(found[0])


def cell_rows(truth: IntArray, predicted: IntArray, k: int) -> FloatArray:
    """Totals that one item of each cell adds: hit, item, prediction, shape (len(truth), 3K)."""
    rows = np.zeros((truth.size, 3 * k))
    at = np.arange(truth.size)
    rows[at, truth] = truth == predicted
    rows[at, k + truth] = 1
    rows[at, 2 * k + predicted] = 1
    return rows


def _types(items: Predictions, codes: IntArray | None) -> RowTypes:
    k = items.classes.size
    if codes is not None:
        return cluster_rows(cell_rows(items.truth, items.predicted, k), codes)
    counts = items.matrix().ravel()
    cells = np.flatnonzero(counts)
    return RowTypes(cell_rows(cells // k, cells % k, k), counts[cells])


def confusion_matrix(y: ArrayLike, predicted: ArrayLike) -> tuple[list[Any], IntArray]:
    """Sorted classes, and counts (K, K) with labels as rows and predictions as columns."""
    items = Predictions.of(y, predicted)
    return items.classes.tolist(), items.matrix()


def confusion_metric(name: str, y: ArrayLike, predicted: ArrayLike, *, positive: object = None) -> float:
    """One of `CONFUSION_METRICS` (conventions for zero denominators: see `_confusion`).

    `y`, `predicted` (n,) labels of one kind. `precision`, `recall`, `f1` alone are those of the class
    `positive` (1 where the labels are 0 and 1).
    """
    items = Predictions.of(y, predicted)
    return float(statistic_of(name, items.classes, positive)(_types(items, None).totals))


def confusion_interval(
    name: str,
    y: ArrayLike,
    predicted: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    positive: object = None,
    level: float = 0.95,
    replicates: int | None = None,
    seed: int = 0,
) -> Measured:
    """A metric of the confusion matrix with its interval.

    Accuracy, and precision and recall of one class, are proportions: Wilson. The mean recall of the classes
    (`balanced_accuracy`, `recall_macro`) joins their Wilson intervals, MOVER (Zou and Donner 2008): a
    bootstrap covers too little where a class has few items. The others: multinomial bootstrap over the
    cells, BCa. With `groups` (n,): whole groups are resampled. Where no resample can
    differ (every item right, or F1 of 0 or 1) an exact bound replaces the empty interval. The number of
    `replicates` (10,000) falls for many groups; the estimator's name states it.
    """
    items = Predictions.of(y, predicted)
    statistic = statistic_of(name, items.classes, positive)
    alpha, codes = check_level(level), group_codes(groups, items.truth.size)
    types = _types(items, codes)
    value = float(statistic(types.totals))
    k = items.classes.size
    at = _positive_code(name, items.classes, positive) if name in BINARY else None
    closed = _closed_form(name, types.totals, k, at, alpha) if codes is None else None
    if closed is None:
        found = resampled_interval(types, statistic, alpha, replicates or DEFAULT_REPLICATES, seed)
        kind = "multinomial" if codes is None else "cluster"
        closed = (*found.bounds, f"{kind} {found.name}")
        if np.ptp(found.replicates) == 0 or _at_the_edge(types.totals, value, at):
            closed = _no_spread(types, statistic, k, alpha)
    low, high, estimator = closed
    return Measured(value, min(low, value), max(high, value), items.truth.size, "1", "measured", estimator)


def _closed_form(
    name: str, totals: FloatArray, k: int, at: int | None, alpha: float
) -> tuple[float, float, str] | None:
    hits, count, predicted = np.split(totals, 3)
    if OVERALL.get(name) is OVERALL["accuracy"]:
        return *wilson_bounds(hits.sum(), count.sum(), alpha), "Wilson"
    if name in ("balanced_accuracy", "recall_macro"):
        return *_mover_bounds(hits, count, predicted, name, alpha), "MOVER on Wilson"
    if at is None or name == "f1":
        return None
    tried = predicted[at] if name == "precision" else count[at]
    return (
        (*wilson_bounds(hits[at], tried, alpha), "Wilson") if tried > 0 else (0.0, 1.0, "no item to judge by")
    )


def _mover_bounds(
    hits: FloatArray, count: FloatArray, predicted: FloatArray, name: str, alpha: float
) -> tuple[float, float]:
    """Of the mean recall of independent classes; a class that is only predicted has the recall 0."""
    present = np.flatnonzero(count)
    joined = present.size if name == "balanced_accuracy" else np.count_nonzero(count + predicted)
    rates = hits[present] / count[present]
    bounds = np.array([wilson_bounds(hits[c], count[c], alpha) for c in present])
    below, above = np.sqrt(((bounds - rates[:, None]) ** 2).sum(axis=0)) / joined
    value = float(rates.sum() / joined)
    return value - float(below), value + float(above)


def _at_the_edge(totals: FloatArray, value: float, at: int | None) -> bool:
    """Every item right, or wrong (for one class: its F1 is 1 or 0): resamples only repeat that."""
    hits, count, _ = np.split(totals, 3)
    return value in (0.0, 1.0) if at is not None else bool(hits.sum() in (0, count.sum()))


def _no_spread(types: RowTypes, statistic: Statistic, k: int, alpha: float) -> tuple[float, float, str]:
    """Every resample gave the same value: bound what the sample could have missed.

    m units that agree still allow a rate of others up to the Clopper-Pearson bound; that many items are
    made wrong, or added as right, where it changes the metric most.
    """
    totals = types.totals
    hits, count, _ = np.split(totals, 3)
    unseen = float(count.sum()) * clopper_pearson_bounds(0, types.units, alpha)[1]
    truth, predicted = np.divmod(np.arange(k * k), k)
    cells = cell_rows(truth, predicted, k)
    right = cell_rows(truth, truth, k)
    moved = np.minimum(unseen, hits[truth])[:, None] * (cells - right)
    added = unseen * right if hits.sum() == 0 else 0 * right
    reached = statistic(totals + moved + added)
    return float(reached.min()), float(reached.max()), "no spread seen: exact bound, worst case"


def confusion_per_class(
    y: ArrayLike, predicted: ArrayLike, groups: ArrayLike | None = None, *, level: float = 0.95, seed: int = 0
) -> dict[Any, dict[str, Measured]]:
    """Precision, recall and F1 of every class, each with its interval."""
    classes = Predictions.of(y, predicted).classes.tolist()
    return {
        label: {
            name: confusion_interval(name, y, predicted, groups, positive=label, level=level, seed=seed)
            for name in BINARY
        }
        for label in classes
    }
