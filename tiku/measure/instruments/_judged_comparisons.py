"""Candidate against base on the same items, metric by metric."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiku.core.metric import Metric
from tiku.core.verdict import Comparison
from tiku.measure import stats
from tiku.measure.instruments._judged import Judged
from tiku.measure.instruments._judged_metrics import BINS, mean_average_precision

__all__ = ["compare_calibration", "compare_labels", "compare_ranking", "compare_scores"]

_SLOW_REPLICATES = 500  # of statistics that sort in each replicate


def compare_labels(metric: Metric, base: Judged, candidate: Judged) -> Comparison:
    """Metrics of the confusion matrix: Tango for accuracy, else a paired bootstrap of the cells."""
    items, plan = candidate.items, candidate.protocol
    return stats.compare_paired(
        metric, items.truth, base.predicted, candidate.predicted, items.groups,
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


def compare_ranking(metric: Metric, base: Judged, candidate: Judged) -> Comparison:
    """AUC-ROC of two classes: DeLong. PR-AUC, and several classes: paired bootstrap of the items."""
    items, plan = candidate.items, candidate.protocol
    two = len(items.classes) == 2
    if two and metric.name == "auc_roc":
        return stats.compare_auc(
            metric, items.truth == 1, base.margins[:, 1], candidate.margins[:, 1], items.groups
        )

    def both(at: NDArray[np.int64]) -> tuple[float, float]:
        first, second = (_ranked(metric.name, items.truth[at], j.margins[at], two) for j in (base, candidate))
        return first, second

    replicates = min(plan.bootstrap, _SLOW_REPLICATES)
    return stats.compare_resampled(
        metric, both, items.truth.size, items.groups, replicates=replicates, seed=plan.seed
    )


def _ranked(name: str, truth: NDArray[np.int64], scores_NC: NDArray[np.float64], two: bool) -> float:
    present = np.unique(truth)
    if present.size < 2:
        return 0.5 if name == "auc_roc" else float(present.size and (not two or present[0] == 1))
    if two:
        return stats.average_precision(truth == 1, scores_NC[:, 1])
    if name == "pr_auc":
        return mean_average_precision(truth, scores_NC)
    return float(np.mean([stats.auc_roc(truth == c, scores_NC[:, c]) for c in present]))


def compare_calibration(metric: Metric, base: Judged, candidate: Judged) -> Comparison:
    """ECE as counted, not corrected: the bias of the bins is the same on both sides and cancels."""
    items, plan = candidate.items, candidate.protocol
    mode: Literal["width", "mass"] = "mass" if metric.name == "ece" else "width"

    def both(at: NDArray[np.int64]) -> tuple[float, float]:
        first, second = (
            stats.ece(judged.confidence[at], judged.right[at], bins=BINS, mode=mode)
            for judged in (base, candidate)
        )
        return first, second

    replicates = min(plan.bootstrap, _SLOW_REPLICATES)
    found = stats.compare_resampled(
        metric, both, items.truth.size, items.groups, replicates=replicates, seed=plan.seed
    )
    return replace(found, test=f"{found.test}, of the uncorrected ECE")
