"""Metrics of the confusion matrix as functions of totals, for one matrix or thousands at once.

The totals of K classes are (…, 3K): right answers, items, and predictions of each class. Conventions
where a denominator is zero (those of scikit-learn): precision, recall and F1 of such a class are 0; a
class with neither items nor predictions is left out of the means; the weighted means weigh by items;
MCC is 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tiku.measure.stats._checks import FloatArray
from tiku.measure.stats._resample import Statistic

__all__ = ["BINARY", "OVERALL", "binary_statistic", "overall_statistic"]


def _divide(a: FloatArray, b: FloatArray) -> FloatArray:
    out: FloatArray = np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=b > 0)
    return out


def _parts(totals: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    hits, items, predicted = np.split(totals, 3, axis=-1)
    return hits, items, predicted


Rate = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]  # (hits, items, predicted) to rates


def _precision(hits: FloatArray, items: FloatArray, predicted: FloatArray) -> FloatArray:
    return _divide(hits, predicted)


def _recall(hits: FloatArray, items: FloatArray, predicted: FloatArray) -> FloatArray:
    return _divide(hits, items)


def _f1(hits: FloatArray, items: FloatArray, predicted: FloatArray) -> FloatArray:
    return _divide(2 * hits, items + predicted)


BINARY: dict[str, Rate] = {"precision": _precision, "recall": _recall, "f1": _f1}


def binary_statistic(name: str, positive: int) -> Statistic:
    """Precision, recall or F1 of the class with code `positive`."""

    def value(totals: FloatArray) -> FloatArray:
        hits, items, predicted = _parts(totals)
        return BINARY[name](hits[..., positive], items[..., positive], predicted[..., positive])

    return value


def _accuracy(totals: FloatArray) -> FloatArray:
    hits, items, _ = _parts(totals)
    return _divide(hits.sum(axis=-1), items.sum(axis=-1))


def _balanced_accuracy(totals: FloatArray) -> FloatArray:
    hits, items, _ = _parts(totals)
    return _divide(_divide(hits, items).sum(axis=-1), (items > 0).sum(axis=-1))


def _mcc(totals: FloatArray) -> FloatArray:
    """Matthews correlation of K classes (Gorodkin 2004)."""
    hits, items, predicted = _parts(totals)
    n = items.sum(axis=-1)
    over = hits.sum(axis=-1) * n - (items * predicted).sum(axis=-1)
    under = (n**2 - (items**2).sum(axis=-1)) * (n**2 - (predicted**2).sum(axis=-1))
    return _divide(over, np.sqrt(under))


def _macro(rate: Rate) -> Statistic:
    def value(totals: FloatArray) -> FloatArray:
        hits, items, predicted = _parts(totals)
        return _divide(rate(hits, items, predicted).sum(axis=-1), (items + predicted > 0).sum(axis=-1))

    return value


def _weighted(rate: Rate) -> Statistic:
    def value(totals: FloatArray) -> FloatArray:
        hits, items, predicted = _parts(totals)
        return _divide((rate(hits, items, predicted) * items).sum(axis=-1), items.sum(axis=-1))

    return value


OVERALL: dict[str, Statistic] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "mcc": _mcc,
    **{f"{name}_micro": _accuracy for name in BINARY},  # one label per item: all micro means are the accuracy
    **{f"{name}_macro": _macro(rate) for name, rate in BINARY.items()},
    **{f"{name}_weighted": _weighted(rate) for name, rate in BINARY.items()},
}


def overall_statistic(name: str) -> Statistic:
    """A metric over all classes."""
    return OVERALL[name]
