"""AUC-ROC and PR-AUC of two models on the same items, and PR-AUC of several classes.

Of several classes: the plain mean over them, each against the rest. Every item's influence on that mean
(one of the models minus the other) gives the error, as in DeLong et al. (1988) for one AUC.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from tiku.core.errors import DataError
from tiku.core.measured import Measured
from tiku.core.metric import Metric
from tiku.core.verdict import Comparison
from tiku.measure.stats._checks import BoolArray, FloatArray, IntArray, as_scores, check_level, group_codes
from tiku.measure.stats._comparison import compared
from tiku.measure.stats.auc import auc_influence, auc_roc, logit_bounds
from tiku.measure.stats.average_precision import average_precision, average_precision_influence
from tiku.measure.stats.means import t_quantile
from tiku.measure.stats.power import detectable_effect
from tiku.measure.stats.proportions import clopper_pearson_bounds

__all__ = ["Ranking", "average_precision_multiclass", "compare_ranks"]

Ranking = Literal["auc_roc", "average_precision"]
_VALUE: dict[Ranking, Callable[[BoolArray, FloatArray], float]] = {
    "auc_roc": auc_roc,
    "average_precision": average_precision,
}
_INFLUENCE: dict[Ranking, Callable[[BoolArray, FloatArray], FloatArray]] = {
    "auc_roc": auc_influence,
    "average_precision": average_precision_influence,
}


def compare_ranks(
    metric: Metric,
    y: ArrayLike,
    base: ArrayLike,
    candidate: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    ranking: Ranking,
    level: float = 0.95,
) -> Comparison:
    """Two tables of scores (n, C) on the same items `y` (n,) in 0 … C-1; normal interval, paired.

    Scores (n,) or (n, 1) rank the items of class 1 above those of class 0. `groups` (n,): whole groups
    are the independent units. Two models that order the items alike: an exact bound on the share of
    items yet unseen where they would not. Raises `DataError` where a class has no item.
    """
    if metric.scale != "difference" or ranking not in get_args(Ranking):
        raise DataError(
            "rankings are compared by difference",
            got=f"scale {metric.scale}, {ranking}",
            allowed=f"scale 'difference'; {', '.join(get_args(Ranking))}",
            next_step="compare a table of ranked scores",
        )
    alpha, codes = check_level(level), group_codes(groups, np.asarray(y).size)
    (first, pull), (second, push) = (_mean(y, scores, ranking) for scores in (base, candidate))
    error, units = _error(push - pull, codes)
    half = (float(-ndtri(alpha / 2)) if codes is None else t_quantile(units - 1, alpha)) * error
    if error == 0:
        perfect = first in (0.0, 1.0)
        half = 1 - (alpha / 2) ** (1 / (_smallest(y, codes) if perfect else units))
    effect = second - first
    test = f"influence of each item, paired{'' if codes is None else ', groups'}"
    return compared(
        metric, first, second, (effect - half, effect + half), detectable_effect(error) or None, test
    )


def average_precision_multiclass(
    y: ArrayLike, scores: ArrayLike, groups: ArrayLike | None = None, *, level: float = 0.95
) -> Measured:
    """Mean one-against-rest average precision of `scores` (n, C), `y` (n,) in 0 … C-1.

    Infinitesimal jackknife over all classes at once, on the logit scale; where every class is ranked
    first, the Clopper-Pearson interval of the smallest. Raises `DataError` where a class has no item.
    """
    alpha, codes = check_level(level), group_codes(groups, np.asarray(y).size)
    value, influence = _mean(y, scores, "average_precision")
    error, _ = _error(influence, codes)
    name = "macro average precision, infinitesimal jackknife, logit"
    if error > 0 and value < 1:
        low, high = logit_bounds(value, error, alpha)
    else:
        held = _smallest(y, codes)
        (low, high), name = clopper_pearson_bounds(held, held, alpha), "every class first: Clopper-Pearson"
    name += "" if codes is None else ", groups"
    return Measured(value, min(low, value), max(high, value), influence.size, "1", "measured", name)


def _mean(y: ArrayLike, scores: ArrayLike, ranking: Ranking) -> tuple[float, FloatArray]:
    """The mean over classes, and what each item adds to its error (n,)."""
    table, labels = np.asarray(scores), np.asarray(y)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or table.shape[0] != labels.size or table.shape[1] == 0:
        raise DataError(
            "scores must have one row per item and one column per class",
            got=f"shape {table.shape} for {labels.size} labels",
            allowed="(n, C), or (n,) for class 1 of two",
            next_step="pass the scores of the same items",
        )
    classes = [1] if table.shape[1] == 1 else list(range(table.shape[1]))
    columns = [(labels == code, as_scores(table[:, at])) for at, code in enumerate(classes)]
    values = [_VALUE[ranking](hit, score) for hit, score in columns]
    influence = np.mean([_INFLUENCE[ranking](hit, score) for hit, score in columns], axis=0)
    return float(np.mean(values)), influence


def _error(influence: FloatArray, codes: IntArray | None) -> tuple[float, int]:
    units = influence if codes is None else np.bincount(codes, weights=influence)
    return math.sqrt(float(units @ units) * units.size / max(1, units.size - 1)), units.size


def _smallest(y: ArrayLike, codes: IntArray | None) -> int:
    """Items (or groups that hold some) of the rarest class."""
    labels = np.asarray(y)
    if codes is None:
        return int(np.unique(labels, return_counts=True)[1].min())
    return min(int(np.unique(codes[labels == name]).size) for name in np.unique(labels))
