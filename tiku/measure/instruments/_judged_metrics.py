"""The metrics of a classifier with their intervals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tiku.core.measured import Measured
from tiku.measure import stats
from tiku.measure.instruments._judged import Judged
from tiku.measure.stats.calibration import BinMode

__all__ = ["BINS", "BIN_MODES", "calibration", "from_labels", "proper_scores", "ranking"]

BINS = 15
BIN_MODES: dict[str, BinMode] = {"ece": "mass", "ece_width": "width"}


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
    brier = stats.brier(items.truth, judged.chances, items.groups)
    return {"log_loss": replace(loss, unit="1"), "brier": brier}


def calibration(judged: Judged) -> dict[str, Measured]:
    """ECE of the predicted class's confidence, bias-corrected."""
    groups, seed = judged.items.groups, judged.protocol.seed
    return {
        name: stats.ece_interval(judged.confidence, judged.right, groups, bins=BINS, mode=mode, seed=seed)
        for name, mode in BIN_MODES.items()
    }


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
    return {"auc_roc": auc, "pr_auc": stats.average_precision_multiclass(items.truth, scores, items.groups)}
