"""Quality of a classifier: every metric with its interval, and paired with the base on the same items."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiku.core.instrument import Instrument, Reading, Workbench
from tiku.core.measured import Measured
from tiku.core.metric import Direction, Metric
from tiku.core.text import Text
from tiku.core.verdict import Comparison, Support
from tiku.measure.instruments._judged import Judged, judged_items, noise_floor, predictions_of
from tiku.measure.instruments._requests import LANGUAGE_TASK, classified

__all__ = ["INSTRUMENT", "ClassificationQuality"]

_TASKS = frozenset({"text-classification", "image-classification", "tabular-classification"})
_FROM_LABELS = (
    "accuracy", "balanced_accuracy", "f1_macro", "f1_micro", "precision_macro", "recall_macro", "mcc",
)  # fmt: skip


def _metric(name: str, direction: Direction, en: str, zh: str, *aliases: str) -> Metric:
    return Metric(name, "1", direction, Text(en, zh), _TASKS, "difference", 0.01, aliases)


class ClassificationQuality(Instrument):
    """Judges the logits of all items of the split (at most `protocol.max_items`).

    AUC-ROC and PR-AUC are those of the second class where there are two, else the plain mean over
    classes, each against the rest. ECE reads the confidence of the predicted class. Where the data
    name groups, whole groups are the independent units of every interval.
    """

    name = "classification_quality"
    metrics = (
        _metric("accuracy", "higher", "Accuracy", "准确率", "acc"),
        _metric("balanced_accuracy", "higher", "Balanced accuracy", "平衡准确率"),
        _metric("f1_macro", "higher", "F1, macro", "宏平均 F1", "f1"),
        _metric("f1_micro", "higher", "F1, micro", "微平均 F1"),
        _metric("precision_macro", "higher", "Precision, macro", "宏平均精确率", "precision"),
        _metric("recall_macro", "higher", "Recall, macro", "宏平均召回率", "recall"),
        _metric("mcc", "higher", "Matthews correlation", "马修斯相关系数（MCC）"),
        _metric("auc_roc", "higher", "AUC-ROC", "ROC 曲线下面积（AUC-ROC）", "auc"),
        _metric("pr_auc", "higher", "PR-AUC", "PR 曲线下面积（平均精度）", "average_precision"),
        _metric("log_loss", "lower", "Log-loss (nats)", "对数损失（奈特）"),
        _metric("brier", "lower", "Brier score", "布里尔分数"),
        _metric("ece", "lower", "Calibration error, equal mass", "校准误差 ECE（等样本分箱）"),
        _metric("ece_width", "lower", "Calibration error, equal width", "校准误差 ECE（等宽分箱）"),
        _metric("flip_rate", "lower", "Predictions unlike the base's", "与基准不同的预测比例", "flips"),
    )  # fmt: skip
    cost_rank = 10
    on_items = True

    def supports(self, bench: Workbench) -> Support:
        """Classifiers with labelled data."""
        if bench.candidate.task == LANGUAGE_TASK or classified(bench) is None:
            return Support.no("there is no labelled data to judge classes on", "没有可用于评判分类的标注数据")
        return Support.yes()

    def measure(self, bench: Workbench) -> Reading:
        """Judge. Raises `CannotMeasure` when the model's classes are not the data's or it gives NaN."""
        from tiku.measure.instruments._judged_comparisons import against_base
        from tiku.measure.instruments._judged_details import details_of

        items = judged_items(bench)
        logits = predictions_of(bench.candidate, items)
        judged = Judged(items, logits, bench.protocol)
        metrics, warnings = _measured(judged)
        base: Judged | None = None
        against: dict[str, Comparison] = {}
        if bench.base is not None:
            kept = bench.base_arrays.get("logits")
            if kept is None or kept.shape != logits.shape:
                kept = predictions_of(bench.base, items)
            base = Judged(items, kept, bench.protocol)
            metrics["flip_rate"] = _flip_rate(base, judged)
            against = against_base(_COMPARED, base, judged)
        details: dict[str, Any] = details_of(judged, base)
        if base is None:
            details["noise_floor"] = noise_floor(bench.candidate, items)
        return Reading(metrics, against, details, {"logits": logits}, warnings)


_COMPARED = {metric.name: metric for metric in ClassificationQuality.metrics if metric.name != "flip_rate"}


def _measured(judged: Judged) -> tuple[dict[str, Measured], tuple[Text, ...]]:
    """Every metric; those that need every class present are left out, with a warning, where one lacks."""
    from tiku.measure.instruments._judged_metrics import calibration, from_labels, proper_scores, ranking

    found = {name: from_labels(name, judged) for name in _FROM_LABELS}
    found |= proper_scores(judged) | calibration(judged)
    absent = judged.absent_classes()
    if absent:
        names = ", ".join(absent[:5])
        why = Text(
            f"AUC-ROC and PR-AUC are left out: no item of class {names}",
            f"未给出 AUC-ROC 与 PR-AUC：没有类别 {names} 的样本",
        )
        return found, (why,)
    return found | ranking(judged), ()


def _flip_rate(base: Judged, candidate: Judged) -> Measured:
    from tiku.measure.stats import proportion

    changed: NDArray[np.bool_] = base.predicted != candidate.predicted
    return proportion(changed, candidate.items.groups, seed=candidate.protocol.seed)


INSTRUMENT = ClassificationQuality()
