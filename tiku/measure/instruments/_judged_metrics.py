"""The metrics of a classifier with their intervals."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiku.core.measured import Measured
from tiku.measure import stats
from tiku.measure.instruments._judged import Judged
from tiku.measure.instruments._judged_bootstrap import FloatArray, mean_precisions, replicated

__all__ = ["BINS", "calibration", "from_labels", "proper_scores", "ranked_columns", "ranking"]

BINS = 15


def from_labels(name: str, judged: Judged) -> Measured:
    """A metric of the confusion matrix."""
    items, plan = judged.items, judged.protocol
    return stats.confusion_interval(
        name, items.truth, judged.predicted, items.groups, replicates=plan.bootstrap, seed=plan.seed
    )


def proper_scores(judged: Judged) -> dict[str, Measured]:
    """Log-loss in nats, and Brier (0 … 1 for two classes, else Brier's own sum, 0 … 2)."""
    items = judged.items
    loss = stats.log_loss(items.truth, judged.probabilities, items.groups)
    brier = stats.brier(items.truth, _chances(judged), items.groups)
    return {"log_loss": replace(loss, unit="1"), "brier": brier}


def _chances(judged: Judged) -> NDArray[np.float64]:
    table = judged.probabilities
    return table[:, 1] if table.shape[1] == 2 else table


def calibration(judged: Judged) -> dict[str, Measured]:
    """ECE of the predicted class's confidence, bias-corrected."""
    mass, width = _ece(judged, "mass"), _ece(judged, "width")
    return {"ece": mass, "ece_width": width}


def _ece(judged: Judged, mode: Literal["mass", "width"]) -> Measured:
    groups, seed = judged.items.groups, judged.protocol.seed
    return stats.ece_interval(judged.confidence, judged.right, groups, bins=BINS, mode=mode, seed=seed)


def ranking(judged: Judged) -> dict[str, Measured]:
    """AUC-ROC and PR-AUC: of the second class of two, else the plain mean over classes."""
    items, scores = judged.items, judged.margins
    if scores.shape[1] == 2:
        truth, score = items.truth == 1, scores[:, 1]
        return {
            "auc_roc": stats.auc_roc_interval(truth, score, items.groups),
            "pr_auc": stats.average_precision_interval(truth, score, items.groups),
        }
    classes = np.arange(scores.shape[1])
    auc = stats.auc_roc_multiclass(items.truth, scores, classes=classes, groups=items.groups)
    return {"auc_roc": auc, "pr_auc": _mean_precision_interval(judged)}


def ranked_columns(judged: Judged) -> FloatArray:
    """The scores that rank the items: of the second of two classes, else one column per class."""
    return judged.margins[:, 1:] if judged.margins.shape[1] == 2 else judged.margins


def _mean_precision_interval(judged: Judged) -> Measured:
    """Percentile bootstrap of the items, or of whole groups."""
    items, plan = judged.items, judged.protocol
    n = items.truth.size
    statistic = mean_precisions(items.truth, ranked_columns(judged))
    values = replicated(statistic, n, items.groups, replicates=plan.bootstrap, seed=plan.seed)
    value = float(statistic(np.ones((1, n)))[0])
    low, high = (float(q) for q in np.quantile(values, [0.025, 0.975]))
    name = f"macro average precision, percentile bootstrap, {values.size} replicates"
    return Measured(value, min(low, value), max(high, value), n, "1", "measured", name)
