"""The metrics of a classifier with their intervals."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiku.core.measured import Measured
from tiku.measure import stats
from tiku.measure.instruments._judged import Judged

__all__ = ["BINS", "calibration", "from_labels", "mean_average_precision", "proper_scores", "ranking"]

BINS = 15
_RANKING_REPLICATES = 500


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


def mean_average_precision(truth: NDArray[np.int64], scores_NC: NDArray[np.float64]) -> float:
    """Plain mean over the classes that have items of the one-against-rest average precision."""
    present = np.unique(truth)
    return float(np.mean([stats.average_precision(truth == c, scores_NC[:, c]) for c in present]))


def _mean_precision_interval(judged: Judged) -> Measured:
    """Percentile bootstrap of the items, or of whole groups."""
    truth, scores = judged.items.truth, judged.margins
    rng = np.random.default_rng(judged.protocol.seed)
    owners = np.arange(truth.size) if judged.items.groups is None else judged.items.groups
    order = np.argsort(owners, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(owners))[:-1])
    replicates = min(judged.protocol.bootstrap, _RANKING_REPLICATES)
    values: list[float] = []
    while len(values) < replicates:
        drawn = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        if np.unique(truth[drawn]).size > 1:
            values.append(mean_average_precision(truth[drawn], scores[drawn]))
    value = mean_average_precision(truth, scores)
    low, high = np.quantile(values, [0.025, 0.975])
    name = f"macro average precision, percentile bootstrap, {replicates} replicates"
    return Measured(value, min(float(low), value), max(float(high), value), truth.size, "1", "measured", name)
