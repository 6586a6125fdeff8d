"""A candidate model against the base on the same items, as a `Comparison` with a verdict.

Every function reports candidate against base: `effect` is candidate - base, or candidate / base where
the metric's scale is "ratio"; the verdict follows `tiku.core.verdict.judge`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tiku.core.errors import DataError
from tiku.core.metric import Metric
from tiku.core.verdict import Comparison
from tiku.measure.stats._checks import (
    FloatArray,
    IntArray,
    as_binary,
    as_codes,
    check_level,
    group_codes,
    same_length,
)
from tiku.measure.stats._comparison import compared, detectable_in, effect_of
from tiku.measure.stats._resample import (
    DEFAULT_REPLICATES,
    Interval,
    RowTypes,
    Statistic,
    cluster_rows,
    resampled_interval,
)
from tiku.measure.stats.confusion import cell_rows, statistic_of
from tiku.measure.stats.paired import tango_bounds
from tiku.measure.stats.power import detectable_paired_accuracy

__all__ = ["compare_correct", "compare_many", "compare_paired"]


def compare_correct(
    metric: Metric, base_correct: ArrayLike, candidate_correct: ArrayLike, *, level: float = 0.95
) -> Comparison:
    """Two accuracies on the same independent items (n,) 0/1: Tango's score interval (1998)."""
    if metric.scale != "difference":
        raise DataError(
            "paired accuracies are compared by difference",
            got=f"{metric.name} with scale {metric.scale}",
            allowed="scale 'difference'",
            next_step="use compare_means for a ratio",
        )
    a, b = as_binary(base_correct, "base"), as_binary(candidate_correct, "candidate")
    same_length({"base": a, "candidate": b})
    lost, won, n = int(np.sum(a & ~b)), int(np.sum(b & ~a)), a.size
    detectable = detectable_paired_accuracy((lost + won) / n, n) if lost + won else None
    bounds = tango_bounds(lost, won, n, check_level(level))
    return compared(metric, float(a.mean()), float(b.mean()), bounds, detectable, "paired, Tango score")


@dataclass(frozen=True)
class _Pair:
    """Labels and both predictions as codes, resampled together."""

    classes: Any
    truth: IntArray
    base: IntArray
    candidate: IntArray

    def types(self, codes: IntArray | None) -> RowTypes:
        """Rows (T, 6K): the base's totals, then the candidate's."""
        k = self.classes.size
        if codes is not None:
            return cluster_rows(self._rows(self.truth, self.base, self.candidate), codes)
        cells, counts = np.unique((self.truth * k + self.base) * k + self.candidate, return_counts=True)
        return RowTypes(self._rows(cells // (k * k), cells // k % k, cells % k), counts.astype(np.int64))

    def _rows(self, truth: IntArray, base: IntArray, candidate: IntArray) -> FloatArray:
        k = self.classes.size
        return np.hstack([cell_rows(truth, base, k), cell_rows(truth, candidate, k)])


def _of_both(metric: Metric, statistic: Statistic) -> Statistic:
    def effect(totals: FloatArray) -> FloatArray:
        base, candidate = np.split(totals, 2, axis=-1)
        return effect_of(metric, statistic(base), statistic(candidate))

    return effect


def compare_paired(
    metric: Metric,
    y: ArrayLike,
    base: ArrayLike,
    candidate: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    statistic: str | None = None,
    positive: object = None,
    level: float = 0.95,
    replicates: int | None = None,
    seed: int = 0,
) -> Comparison:
    """Two sets of predicted labels (n,) on the same items `y` (n,) by a metric of the confusion matrix.

    `statistic` is one of `CONFUSION_METRICS` (the metric's name by default). Accuracy of independent
    items: Tango's interval. Else the cells (label, base, candidate) are resampled together, or whole
    `groups` (n,): BCa. Raises `DataError` on lengths or labels that do not fit, `UnknownName` on the
    statistic.
    """
    classes, (truth, a, b) = as_codes(y, base, candidate, names=("labels", "base", "candidate"))
    name = statistic or metric.name
    value_of = statistic_of(name, classes, positive)
    codes, alpha = group_codes(groups, truth.size), check_level(level)
    if name == "accuracy" and codes is None and metric.scale == "difference":
        return compare_correct(metric, truth == a, truth == b, level=level)
    types = _Pair(classes, truth, a, b).types(codes)
    first, second = np.split(types.totals, 2)
    found = resampled_interval(
        types, _of_both(metric, value_of), alpha, replicates or DEFAULT_REPLICATES, seed,
        fewest=_rarest(truth) if codes is None else None,
    )  # fmt: skip
    bounds, test = _unless_same(metric, found, types, alpha)
    kind = "paired" if codes is None else "paired, groups"
    detectable = detectable_in(metric, found.replicates) or None
    return compared(
        metric, float(value_of(first)), float(value_of(second)), bounds, detectable, f"{kind}, {test}"
    )


def _rarest(truth: IntArray) -> int:
    """Items of the rarest class that has any."""
    counts = np.bincount(truth)
    return int(counts[counts > 0].min())


def _unless_same(
    metric: Metric, found: Interval, types: RowTypes, alpha: float
) -> tuple[tuple[float, float], str]:
    """Where no resample differs, m units still allow a share of differing ones up to the exact bound."""
    if np.ptp(found.replicates) > 0:
        return found.bounds, found.name
    unseen = 1 - (alpha / 2) ** (1 / types.units)
    low, high = found.bounds
    if metric.scale == "ratio":
        return (low * (1 - unseen), high / (1 - unseen)), "no spread seen, exact bound"
    return (low - unseen, high + unseen), "no spread seen, exact bound"


def compare_many(
    metric: Metric,
    y: ArrayLike,
    base: ArrayLike,
    candidates: Mapping[str, ArrayLike],
    groups: ArrayLike | None = None,
    *,
    statistic: str | None = None,
    positive: object = None,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Comparison]:
    """Every candidate against one base, with Holm's step-down (1979) over "better" and "worse".

    Holm by intervals: the m comparisons are taken by strength of evidence; the strongest must show its
    effect at level 1 - alpha / m, the next at 1 - alpha / (m - 1) …; from the first that fails on, a
    "better" or "worse" becomes "cannot tell". Intervals shown stay at `level`.
    """
    alpha = check_level(level)

    def at(name: str, error: float) -> Comparison:
        return compare_paired(
            metric, y, base, candidates[name], groups,
            statistic=statistic, positive=positive, level=1 - error, seed=seed,
        )  # fmt: skip

    found = {name: at(name, alpha) for name in candidates}
    order = sorted(found, key=lambda name: -_evidence(found[name]))
    standing = True
    for rank, name in enumerate(order):
        if found[name].verdict in ("better", "worse"):
            standing = standing and at(name, alpha / (len(order) - rank)).verdict == found[name].verdict
            kept = found[name].verdict if standing else "cannot tell"
            found[name] = replace(
                found[name], verdict=kept, test=f"{found[name].test}, Holm over {len(order)}"
            )
    return found


def _evidence(comparison: Comparison) -> float:
    """Distance from "no change" in widths of the interval."""
    ratio = comparison.scale == "ratio"
    low, effect, high = (
        math.log(x) if ratio else x for x in (comparison.low, comparison.effect, comparison.high)
    )
    return abs(effect) / (high - low) if high > low else math.inf
