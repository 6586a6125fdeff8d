"""What plots and tables of a classifier's quality are drawn from, as JSON values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiku.measure import stats
from tiku.measure.instruments._judged import Judged
from tiku.measure.instruments._judged_metrics import BINS
from tiku.measure.instruments._judged_slices import slices_of

__all__ = ["details_of"]

_CURVE_POINTS = 200
_MOST_CURVES = 10
_EXAMPLES = 10
_TEXT = 300  # characters of an example that are shown
_CLASS_REPLICATES = 1000


def details_of(judged: Judged, base: Judged | None) -> dict[str, Any]:
    """confusion (C, C: row label, column prediction), roc, reliability, per_class, slices,
    worst_examples, and for a candidate flips."""
    items = judged.items
    found = {
        "items": len(items.truth),
        "classes": list(items.classes),
        "confusion": _confusion(judged).tolist(),
        "roc": _roc_curves(judged),
        "reliability": _reliability(judged),
        "per_class": _per_class(judged),
        "slices": slices_of(judged, base),
        "worst_examples": _worst_examples(judged),
    }
    return found if base is None else {**found, "flips": _flips(base, judged)}


def _confusion(judged: Judged) -> NDArray[np.int64]:
    k = len(judged.items.classes)
    return np.bincount(judged.items.truth * k + judged.predicted, minlength=k * k).reshape(k, k)


def _roc_curves(judged: Judged) -> list[dict[str, Any]]:
    """One curve for the second of two classes, else one per class (the first ten)."""
    names = judged.items.classes
    columns = [1] if len(names) == 2 else range(min(len(names), _MOST_CURVES))
    curves = []
    for column in columns:
        truth = judged.items.truth == column
        if truth.any() and not truth.all():
            curves.append({"class": names[column], "points": _roc(truth, judged.margins[:, column])})
    return curves


def _roc(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> list[list[float]]:
    """(false positive rate, true positive rate), from (0, 0) to (1, 1), at most 200 points.

    Points between collinear neighbours are dropped first, then the rest thinned evenly along the
    length of the curve.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    hits = np.cumsum(truth[order])[last]
    x = np.concatenate([[0], last + 1 - hits]) / (truth.size - truth.sum())
    y = np.concatenate([[0], hits]) / truth.sum()
    turns = np.ones(x.size, dtype=bool)
    turns[1:-1] = np.diff(x)[:-1] * np.diff(y)[1:] != np.diff(x)[1:] * np.diff(y)[:-1]
    x, y = x[turns], y[turns]
    if x.size > _CURVE_POINTS:
        along = np.concatenate([[0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
        kept = np.unique(np.searchsorted(along, np.linspace(0, along[-1], _CURVE_POINTS)))
        x, y = x[kept], y[kept]
    return [[round(float(a), 6), round(float(b), 6)] for a, b in zip(x, y, strict=True)]


def _reliability(judged: Judged) -> list[dict[str, Any]]:
    curve = stats.reliability_curve(judged.confidence, judged.right, bins=BINS, mode="mass")
    return [asdict(one) for one in curve]


def _per_class(judged: Judged) -> dict[str, dict[str, Any]]:
    """Precision, recall and F1 with intervals, and the number of items, for classes that occur."""
    items, plan = judged.items, judged.protocol
    found: dict[str, dict[str, Any]] = {}
    for code, name in enumerate(items.classes):
        count = int((items.truth == code).sum())
        if not count and not (judged.predicted == code).any():
            continue
        found[name] = {"items": count} | {
            metric: asdict(
                stats.confusion_interval(
                    metric, items.truth, judged.predicted, items.groups,
                    positive=code, replicates=min(plan.bootstrap, _CLASS_REPLICATES), seed=plan.seed,
                )
            )
            for metric in ("precision", "recall", "f1")
        }  # fmt: skip
    return found


def _worst_examples(judged: Judged) -> list[dict[str, Any]]:
    """Errors the model was most certain of; often wrong labels."""
    wrong = np.flatnonzero(~judged.right)
    worst = wrong[np.argsort(-judged.confidence[wrong], kind="stable")][:_EXAMPLES]
    return [_example(judged, int(i)) for i in worst]


def _example(judged: Judged, i: int) -> dict[str, Any]:
    names = judged.items.classes
    return {
        "text": _shown(judged.items.inputs[i]),
        "true": names[judged.items.truth[i]],
        "predicted": names[judged.predicted[i]],
        "confidence": round(float(judged.confidence[i]), 4),
    }


def _shown(item: Any) -> str | None:
    """The beginning of a text, or of two; nothing for arrays."""
    if isinstance(item, tuple | list) and all(isinstance(part, str) for part in item):
        item = " ⏐ ".join(item)
    if not isinstance(item, str):
        return None
    return item if len(item) <= _TEXT else item[: _TEXT - 1] + "…"


def _flips(base: Judged, judged: Judged) -> dict[str, Any]:
    """Items whose predicted class changed: how many, for worse (`lost`) or better (`won`), and some."""
    changed = np.flatnonzero(base.predicted != judged.predicted)
    lost = changed[base.right[changed]]
    surest = lost[np.argsort(-judged.confidence[lost], kind="stable")][:_EXAMPLES]
    return {
        "count": int(changed.size),
        "lost": int(lost.size),
        "won": int(judged.right[changed].sum()),
        "examples": [
            {**_example(judged, int(i)), "base_confidence": round(float(base.confidence[i]), 4)}
            for i in surest
        ],
    }
