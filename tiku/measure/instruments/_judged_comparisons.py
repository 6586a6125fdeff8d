"""Candidate against base on the same items, metric by metric."""

from __future__ import annotations

from collections.abc import Mapping

from tiku.core.metric import Metric
from tiku.core.verdict import Comparison
from tiku.measure import stats
from tiku.measure.instruments._judged import Judged
from tiku.measure.instruments._judged_metrics import BIN_MODES, BINS

__all__ = ["against_base"]


def against_base(metrics: Mapping[str, Metric], base: Judged, candidate: Judged) -> dict[str, Comparison]:
    """Every metric of `metrics` that can be compared, paired on the items."""
    found = {}
    for name, metric in metrics.items():
        if name in BIN_MODES:
            found[name] = _calibration(metric, base, candidate)
        elif name in ("log_loss", "brier"):
            found[name] = _scores(metric, base, candidate)
        elif name in ("auc_roc", "pr_auc"):
            if not candidate.absent_classes():
                found[name] = _ranking(metric, base, candidate)
        else:
            found[name] = _labels(metric, base, candidate)
    return found


def _labels(metric: Metric, base: Judged, candidate: Judged) -> Comparison:
    """Metrics of the confusion matrix: Tango for accuracy, else a paired bootstrap of the cells."""
    items, plan = candidate.items, candidate.protocol
    return stats.compare_paired(
        metric, items.truth, base.predicted, candidate.predicted, items.groups,
        statistic="accuracy" if metric.name == "f1_micro" else None,  # the same number, a closed form
        replicates=plan.bootstrap, seed=plan.seed,
    )  # fmt: skip


def _scores(metric: Metric, base: Judged, candidate: Judged) -> Comparison:
    """Log-loss or Brier, item by item."""
    items = candidate.items
    before, after = (
        stats.log_loss_items(items.truth, judged.probabilities)
        if metric.name == "log_loss"
        else stats.brier_items(items.truth, judged.chances)
        for judged in (base, candidate)
    )
    return stats.compare_means(metric, before, after, items.groups)


def _ranking(metric: Metric, base: Judged, candidate: Judged) -> Comparison:
    """DeLong for the AUC of two classes; else the influence of each item, over the classes."""
    truth, groups = candidate.items.truth, candidate.items.groups
    two = len(candidate.items.classes) == 2
    before, after = (judged.margins[:, 1:] if two else judged.margins for judged in (base, candidate))
    if metric.name == "auc_roc" and two:
        return stats.compare_auc(metric, truth, before[:, 0], after[:, 0], groups)
    ranking: stats.Ranking = "auc_roc" if metric.name == "auc_roc" else "average_precision"
    return stats.compare_ranks(metric, truth, before, after, groups, ranking=ranking)


def _calibration(metric: Metric, base: Judged, candidate: Judged) -> Comparison:
    items, seed = candidate.items, candidate.protocol.seed
    sides = [(judged.confidence, judged.right) for judged in (base, candidate)]
    return stats.compare_ece(
        metric, sides[0], sides[1], items.groups, bins=BINS, mode=BIN_MODES[metric.name], seed=seed
    )
