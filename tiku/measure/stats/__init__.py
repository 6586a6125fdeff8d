"""Statistics behind every number: pure NumPy and SciPy, no model, no files.

Each estimate is a `Measured` with a 95 % interval; each pair of models a `Comparison` with a verdict.

- proportions: Wilson, Clopper-Pearson, clusters · confusion: accuracy, precision, recall, F1, MCC
- auc, auc_bootstrap, auc_multiclass, average_precision: ranks
- probabilities, calibration: log-loss, Brier, ECE
- paired, power, compare, compare_values, compare_ranks, compare_calibration: two models on the same items
- means, quantiles, ratios: timings · language: perplexity, bits per byte, pass@k · slices: the worst slice
"""

from tiku.measure.stats.auc import auc_roc, auc_roc_interval
from tiku.measure.stats.auc_bootstrap import auc_roc_bootstrap, auc_roc_replicates
from tiku.measure.stats.auc_multiclass import auc_roc_multiclass, auc_roc_per_class
from tiku.measure.stats.average_precision import average_precision, average_precision_interval
from tiku.measure.stats.calibration import (
    ReliabilityBin,
    ece,
    ece_interval,
    reliability_curve,
    squared_calibration_error,
    top_label,
)
from tiku.measure.stats.compare import compare_correct, compare_many, compare_paired
from tiku.measure.stats.compare_calibration import compare_ece
from tiku.measure.stats.compare_ranks import Ranking, average_precision_multiclass, compare_ranks
from tiku.measure.stats.compare_values import compare_auc, compare_means, compare_ratio, compare_resampled
from tiku.measure.stats.confusion import (
    CONFUSION_METRICS,
    confusion_interval,
    confusion_matrix,
    confusion_metric,
    confusion_per_class,
)
from tiku.measure.stats.language import (
    bits_per_byte,
    compare_perplexity,
    pass_at_k,
    pass_at_k_interval,
    perplexity,
)
from tiku.measure.stats.means import mean_interval, ratio_interval
from tiku.measure.stats.paired import (
    PairedTest,
    delong_test,
    holm,
    mcnemar,
    paired_proportion_difference,
    sign_flip_test,
    tost,
)
from tiku.measure.stats.power import (
    detectable_effect,
    detectable_paired_accuracy,
    items_for_effect,
    items_for_paired_accuracy,
)
from tiku.measure.stats.probabilities import brier, brier_items, log_loss, log_loss_items
from tiku.measure.stats.proportions import clopper_pearson, proportion, wilson
from tiku.measure.stats.quantiles import items_for_quantile, median_interval, quantile_interval
from tiku.measure.stats.ratios import paired_ratio
from tiku.measure.stats.slices import Slice, SliceReport, slice_accuracy, slice_metric

__all__ = [
    "CONFUSION_METRICS",
    "PairedTest",
    "Ranking",
    "ReliabilityBin",
    "Slice",
    "SliceReport",
    "auc_roc",
    "auc_roc_bootstrap",
    "auc_roc_interval",
    "auc_roc_multiclass",
    "auc_roc_per_class",
    "auc_roc_replicates",
    "average_precision",
    "average_precision_interval",
    "average_precision_multiclass",
    "bits_per_byte",
    "brier",
    "brier_items",
    "clopper_pearson",
    "compare_auc",
    "compare_correct",
    "compare_ece",
    "compare_many",
    "compare_means",
    "compare_paired",
    "compare_perplexity",
    "compare_ranks",
    "compare_ratio",
    "compare_resampled",
    "confusion_interval",
    "confusion_matrix",
    "confusion_metric",
    "confusion_per_class",
    "delong_test",
    "detectable_effect",
    "detectable_paired_accuracy",
    "ece",
    "ece_interval",
    "holm",
    "items_for_effect",
    "items_for_paired_accuracy",
    "items_for_quantile",
    "log_loss",
    "log_loss_items",
    "mcnemar",
    "mean_interval",
    "median_interval",
    "paired_proportion_difference",
    "paired_ratio",
    "pass_at_k",
    "pass_at_k_interval",
    "perplexity",
    "proportion",
    "quantile_interval",
    "ratio_interval",
    "reliability_curve",
    "sign_flip_test",
    "slice_accuracy",
    "slice_metric",
    "squared_calibration_error",
    "top_label",
    "tost",
    "wilson",
]
