"""PR-AUC as average precision, with its interval."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from tiku.core.measured import Measured
from tiku.measure.stats._checks import (
    BoolArray,
    FloatArray,
    as_binary,
    as_scores,
    as_weights,
    check_level,
    group_codes,
    same_length,
)
from tiku.measure.stats._ranks import item_order, ranked
from tiku.measure.stats.auc import logit_bounds
from tiku.measure.stats.proportions import clopper_pearson_bounds

__all__ = ["average_precision", "average_precision_influence", "average_precision_interval"]


def _precision(positives: FloatArray, negatives: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Precision and number selected when everything at or above each distinct score is selected."""
    hits = np.cumsum(positives[::-1])[::-1]
    chosen = hits + np.cumsum(negatives[::-1])[::-1]
    return np.divide(hits, chosen, out=np.zeros(hits.size), where=chosen > 0), chosen


def _tallied(
    label: BoolArray, scores: FloatArray, weights: FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    if weights is None:
        tally = ranked(scores, label).tally()
        return tally.positives.astype(float), tally.negatives.astype(float)
    order = item_order(scores)
    return order.totals(weights * label), order.totals(weights * ~label)


def average_precision(y: ArrayLike, s: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Mean over positives of the precision at their score; equal scores are one step, not interpolated.

    `y` (n,) 0/1, `s` (n,), `weight` (n,) not negative. Equals scikit-learn's
    `average_precision_score`. Raises `DataError` on NaN or one class.
    """
    label, scores = as_binary(y, both=True), as_scores(s)
    same_length({"labels": label, "scores": scores})
    weights = as_weights(weight, label)
    if weights is not None:
        as_binary(label[weights > 0], "labels of positive weight", both=True)
    positives, negatives = _tallied(label, scores, weights)
    return float(positives @ _precision(positives, negatives)[0] / positives.sum())


def _influence(positives: FloatArray, negatives: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Derivative of the average precision by the weight of one positive, and of one negative, per score."""
    precision, chosen = _precision(positives, negatives)
    total = positives.sum()
    value = positives @ precision / total
    gained = np.cumsum(positives / chosen)
    lost = np.cumsum(positives * precision / chosen)
    return (precision - value + gained - lost) / total, -lost / total, value


def average_precision_influence(label: BoolArray, scores: FloatArray) -> FloatArray:
    """What each item adds to the error of the average precision, shape (n,)."""
    order = item_order(scores)
    by_positive, by_negative, _ = _influence(
        order.totals(label.astype(float)), order.totals((~label).astype(float))
    )
    return np.where(label, order.spread(by_positive), order.spread(by_negative))


def average_precision_interval(
    y: ArrayLike, s: ArrayLike, groups: ArrayLike | None = None, *, level: float = 0.95
) -> Measured:
    """Average precision with an infinitesimal-jackknife interval (Jaeckel 1972) on the logit scale.

    The logit interval is that advised by Boyd, Eng and Page (2013). `y`, `s`, `groups` shape (n,);
    with `groups`, whole groups are the independent units. Where every positive outranks every
    negative, the Clopper-Pearson interval of the positives (or of the groups that hold some).
    Raises `DataError` on NaN or one class.
    """
    label, scores = as_binary(y, both=True), as_scores(s)
    same_length({"labels": label, "scores": scores})
    alpha, codes = check_level(level), group_codes(groups, label.size)
    value, name = average_precision(label, scores), "infinitesimal jackknife, logit"
    if codes is None:
        positives, negatives = _tallied(label, scores, None)
        by_positive, by_negative, _ = _influence(positives, negatives)
        squares, units = float(positives @ by_positive**2 + negatives @ by_negative**2), label.size
    else:
        sums = np.bincount(codes, weights=average_precision_influence(label, scores))
        squares, units = float(sums @ sums), sums.size
    if squares > 0 and value < 1:
        low, high = logit_bounds(value, math.sqrt(squares * units / (units - 1)), alpha)
    else:
        held = int(label.sum()) if codes is None else np.unique(codes[label]).size
        (low, high), name = clopper_pearson_bounds(held, held, alpha), "every positive first: Clopper-Pearson"
    if codes is not None:
        name += ", groups"
    return Measured(value, min(low, value), max(high, value), label.size, "1", "measured", name)
