"""Candidate against base on the same items, metric by metric."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tiku.core.measured import Measured
from tiku.core.metric import Metric
from tiku.core.verdict import Comparison, judge
from tiku.measure import stats
from tiku.measure.instruments._judged import Judged
from tiku.measure.instruments._judged_bootstrap import (
    FloatArray,
    calibration_sums,
    mean_precisions,
    replicated,
)
from tiku.measure.instruments._judged_metrics import BINS, ranked_columns

__all__ = ["compare_auc", "compare_calibration", "compare_labels", "compare_precision", "compare_scores"]

_Z_POWER = 1.959964 + 0.841621  # two-sided 5 %, 80 % power


def compare_labels(metric: Metric, base: Judged, candidate: Judged) -> Comparison:
    """Metrics of the confusion matrix: Tango for accuracy, else a paired bootstrap of the cells."""
    items, plan = candidate.items, candidate.protocol
    return stats.compare_paired(
        metric, items.truth, base.predicted, candidate.predicted, items.groups,
        statistic="accuracy" if metric.name == "f1_micro" else None,  # the same number, a closed form
        replicates=plan.bootstrap, seed=plan.seed,
    )  # fmt: skip


def compare_scores(metric: Metric, base: Judged, candidate: Judged) -> Comparison:
    """Log-loss or Brier, item by item."""
    items = candidate.items
    of_item = stats.log_loss_items if metric.name == "log_loss" else stats.brier_items
    two = metric.name == "brier" and len(items.classes) == 2
    before, after = (
        of_item(items.truth, judged.probabilities[:, 1] if two else judged.probabilities)
        for judged in (base, candidate)
    )
    return stats.compare_means(metric, before, after, items.groups)


def compare_auc(metric: Metric, base: Judged, candidate: Judged) -> Comparison:
    """DeLong's variance of the paired difference; of several classes, of the difference of the means."""
    items = candidate.items
    if len(items.classes) == 2:
        return stats.compare_auc(
            metric, items.truth == 1, base.margins[:, 1], candidate.margins[:, 1], items.groups
        )
    (before, influence_before), (after, influence_after) = _mean_auc(base), _mean_auc(candidate)
    away = influence_after - influence_before
    units = away if items.groups is None else np.bincount(items.groups, weights=away)
    error = math.sqrt(float(units @ units) * units.size / (units.size - 1))
    effect, half = after - before, 1.959964 * error
    return _difference(metric, before, after, (effect - half, effect + half), error, "DeLong, paired, macro")


def _mean_auc(judged: Judged) -> tuple[float, FloatArray]:
    """Mean one-against-rest AUC, and what each item adds to its error, shape (N,)."""
    from tiku.measure.stats.auc import auc_influence

    classes = range(len(judged.items.classes))
    hits = [judged.items.truth == code for code in classes]
    values = [stats.auc_roc(hits[c], judged.margins[:, c]) for c in classes]
    influence = sum(auc_influence(hits[c], judged.margins[:, c]) for c in classes) / len(classes)
    return float(np.mean(values)), np.asarray(influence)


def compare_precision(metric: Metric, base: Judged, candidate: Judged) -> Comparison:
    """PR-AUC: paired bootstrap of the items, percentile."""
    truth = candidate.items.truth
    before, after = (mean_precisions(truth, ranked_columns(j)) for j in (base, candidate))
    values, whole = _replicates(candidate, lambda w: after(w) - before(w)), np.ones((1, truth.size))
    bounds = np.quantile(values, [0.025, 0.975])
    name = f"paired bootstrap, percentile, {values.size} replicates"
    return _difference(
        metric,
        float(before(whole)[0]),
        float(after(whole)[0]),
        (float(bounds[0]), float(bounds[1])),
        float(values.std()),
        name,
    )


def compare_calibration(
    metric: Metric, base: Judged, candidate: Judged, measured: tuple[Measured, Measured]
) -> Comparison:
    """Difference of the two bias-corrected errors (`measured`: base, candidate).

    Its interval joins their own (MOVER, Zou and Donner 2008, Zou 2007), with their correlation from a
    paired bootstrap in fixed bins. A bootstrap of the difference itself would be biased wherever one
    of the two is nearly calibrated.
    """
    before, after = (
        calibration_sums(j.confidence, j.right, _edges(j.confidence, metric.name)) for j in (base, candidate)
    )
    both = _replicates(candidate, lambda w: np.stack([before(w), after(w)], axis=1))
    shared = float(np.corrcoef(both.T)[0, 1]) if (both.std(axis=0) > 0).all() else 0.0
    first, second = measured
    effect = second.value - first.value
    low = effect - _joined(second.value - _end(second.low), _end(first.high) - first.value, shared)
    high = effect + _joined(_end(second.high) - second.value, first.value - _end(first.low), shared)
    error = (high - low) / (2 * 1.959964)
    return _difference(metric, first.value, second.value, (low, high), error, "MOVER of the two intervals")


def _joined(a: float, b: float, correlation: float) -> float:
    return math.sqrt(max(0.0, a * a + b * b - 2 * correlation * a * b))


def _end(bound: float | None) -> float:
    if bound is None:
        raise ValueError("an ECE always has an interval")
    return bound


def _edges(confidence: FloatArray, name: str) -> FloatArray:
    shares = np.linspace(0, 1, BINS + 1)
    return (
        shares if name == "ece_width" else np.unique(np.quantile(confidence, shares, method="inverted_cdf"))
    )


def _replicates(judged: Judged, statistic: Callable[[FloatArray], FloatArray]) -> FloatArray:
    items, plan = judged.items, judged.protocol
    return replicated(statistic, items.truth.size, items.groups, replicates=plan.bootstrap, seed=plan.seed)


def _difference(
    metric: Metric, base: float, value: float, bounds: tuple[float, float], error: float, test: str
) -> Comparison:
    effect = value - base
    low, high = min(bounds[0], effect), max(bounds[1], effect)
    verdict = judge(metric, low, high)
    detectable = _Z_POWER * error if error > 0 else None
    return Comparison(base, value, "difference", effect, low, high, verdict, detectable, test)
