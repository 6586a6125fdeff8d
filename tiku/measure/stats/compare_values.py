"""A candidate against the base by per-item values, scores, timings, or any statistic of the items."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from tiku.core.errors import DataError
from tiku.core.metric import Metric
from tiku.core.verdict import Comparison, judge
from tiku.measure.stats._checks import (
    IntArray,
    as_floats,
    check_level,
    check_positive,
    group_codes,
    same_length,
)
from tiku.measure.stats._comparison import compared, detectable_in, effect_of
from tiku.measure.stats.auc import auc_roc
from tiku.measure.stats.means import ratio_error, t_quantile
from tiku.measure.stats.paired import auc_difference
from tiku.measure.stats.power import detectable_effect
from tiku.measure.stats.ratios import RatioMethod, paired_ratio

__all__ = ["compare_auc", "compare_means", "compare_ratio", "compare_resampled"]


def compare_means(
    metric: Metric,
    base: ArrayLike,
    candidate: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    level: float = 0.95,
) -> Comparison:
    """Two means of per-item values (n,) (log-loss, Brier, negative log-likelihood): paired t.

    Ratios by the delta method on the log scale; with `groups` (n,) the error is cluster-robust.
    """
    a, b = as_floats(base, "base"), as_floats(candidate, "candidate")
    same_length({"base": a, "candidate": b})
    codes, alpha = group_codes(groups, a.size), check_level(level)
    kind = "paired t" if codes is None else "paired t, groups"
    if a.size < 2:
        raise DataError(
            "a comparison needs two items or more",
            got="1 item",
            allowed="2 or more",
            next_step="compare on more items",
        )
    if metric.scale == "ratio":
        effect_of(metric, a.mean(), b.mean())
        ratio, se, degrees = ratio_error(b, a, codes)
        half = t_quantile(degrees, alpha) * se / ratio
        bounds = ratio * math.exp(-half), ratio * math.exp(half)
        detectable = math.expm1(detectable_effect(se / ratio))
    else:
        effect, se, degrees = ratio_error(b - a, np.ones(a.size), codes)
        half = t_quantile(degrees, alpha) * se
        bounds, detectable = (effect - half, effect + half), detectable_effect(se)
    return compared(metric, float(a.mean()), float(b.mean()), bounds, detectable or None, kind)


def compare_auc(
    metric: Metric,
    y: ArrayLike,
    base: ArrayLike,
    candidate: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    level: float = 0.95,
) -> Comparison:
    """AUC-ROC of two sets of scores (n,) on the same items: DeLong (1988), by groups Obuchowski (1997)."""
    effect, se, n = auc_difference(y, base, candidate, groups)
    half = float(-ndtri(check_level(level) / 2)) * se
    if metric.scale != "difference":
        raise DataError(
            "AUC are compared by difference",
            got=f"scale {metric.scale}",
            allowed="difference",
            next_step="use a metric of this scale",
        )
    first = auc_roc(y, base)
    if se == 0:  # the same order; where both make no error, the rarer class alone can tell
        seen = n if 0 < first < 1 else int(np.bincount(np.asarray(y, dtype=np.int64)).min())
        half = 1 - (check_level(level) / 2) ** (1 / seen)
    test = "DeLong, paired" if groups is None else "DeLong, paired, groups"
    bounds = effect - half, effect + half
    return compared(metric, first, auc_roc(y, candidate), bounds, detectable_effect(se) or None, test)


def compare_resampled(
    metric: Metric,
    statistic: Callable[[IntArray], tuple[float, float]],
    n: int,
    groups: ArrayLike | None = None,
    *,
    level: float = 0.95,
    replicates: int = 2_000,
    seed: int = 0,
) -> Comparison:
    """Paired bootstrap of any statistic: `statistic(indices)` gives (base, candidate) on those items.

    Items (or whole `groups` (n,)) are drawn with replacement; percentile interval. The slow and general
    way; the other functions here are faster where they apply.
    """
    check_positive(n, "n", 2)
    check_positive(replicates, "replicates", 100)
    codes, alpha = group_codes(groups, n), check_level(level)
    owners = np.arange(n) if codes is None else codes
    order = np.argsort(owners, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(owners))[:-1])
    rng = np.random.default_rng(seed)

    def draw() -> float:
        drawn = rng.integers(len(members), size=len(members))
        indices = drawn if codes is None else np.concatenate([members[unit] for unit in drawn])
        return float(effect_of(metric, *map(np.asarray, statistic(indices))))

    base, value = statistic(np.arange(n))
    values = np.array([draw() for _ in range(replicates)])
    low, high = np.quantile(values, [alpha / 2, 1 - alpha / 2])
    test = f"paired bootstrap, percentile, {replicates} replicates" + ("" if codes is None else ", groups")
    return compared(
        metric, base, value, (float(low), float(high)), detectable_in(metric, values) or None, test
    )


def compare_ratio(
    metric: Metric,
    base: ArrayLike,
    candidate: ArrayLike,
    *,
    method: RatioMethod = "median of ratios",
    block: int = 1,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Times (or any positive quantity) of interleaved pairs (n,), as a ratio; see `paired_ratio`.

    `base` and `value` are medians (means for "ratio of means"). Too few pairs for an interval is a
    `DataError` that says how many are needed.
    """
    found = paired_ratio(base, candidate, method=method, block=block, level=level, seed=seed)
    if metric.scale != "ratio" or found.low is None or found.high is None:
        raise DataError(
            f"{metric.name} cannot be compared from these pairs",
            got=f"{found.n} pairs, scale {metric.scale}",
            allowed="scale 'ratio' and 6 pairs or more",
            next_step="measure more pairs",
        )
    centre = np.mean if method == "ratio of means" else np.median
    a, b = as_floats(base, "base"), as_floats(candidate, "candidate")
    z = float(-ndtri(check_level(level) / 2))
    se = math.log(found.high / found.low) / (2 * z)
    return Comparison(
        float(centre(a)),
        float(centre(b)),
        "ratio",
        found.value,
        found.low,
        found.high,
        judge(metric, found.low, found.high),
        math.expm1(detectable_effect(se)) or None,
        found.estimator,
    )
