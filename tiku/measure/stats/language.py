"""Aggregates of language models: perplexity, bits per byte, pass@k; two perplexities compared."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from tiku.core.errors import DataError
from tiku.core.measured import Measured
from tiku.core.metric import Metric
from tiku.core.verdict import Comparison
from tiku.measure.stats._checks import (
    FloatArray,
    as_counts,
    as_floats,
    check_level,
    check_positive,
    group_codes,
    same_length,
)
from tiku.measure.stats._comparison import compared
from tiku.measure.stats._resample import (
    DEFAULT_REPLICATES,
    cluster_rows,
    collapse,
    ratio_of_totals,
    resampled_interval,
)
from tiku.measure.stats.means import ratio_error, t_quantile
from tiku.measure.stats.power import detectable_effect
from tiku.measure.stats.proportions import clopper_pearson_bounds

__all__ = ["bits_per_byte", "compare_perplexity", "pass_at_k", "pass_at_k_interval", "perplexity"]


def _nats_per_unit(
    nll: ArrayLike, units: ArrayLike, groups: ArrayLike | None, name: str, alpha: float
) -> tuple[float, float | None, int]:
    """Ratio of sums, half width of its t interval (None for one document), and units in all."""
    sums, counts = as_floats(nll, "negative log-likelihoods"), as_counts(units, name)
    same_length({"negative log-likelihoods": sums, name: counts})
    if sums.min() < 0 or counts.sum() == 0:
        raise DataError(
            "each document needs its summed negative log-likelihood and a count",
            next_step="pass sums in nats",
            got=f"smallest sum {sums.min():g}, {counts.sum()} {name}",
            allowed="sums of 0 or more, some counts",
        )
    value, se, degrees = ratio_error(sums, counts.astype(float), group_codes(groups, sums.size))
    return value, t_quantile(degrees, alpha) * se if degrees else None, int(counts.sum())


def perplexity(
    nll: ArrayLike, tokens: ArrayLike, groups: ArrayLike | None = None, *, level: float = 0.95
) -> Measured:
    """exp(total nats / total tokens); the documents (or their `groups`) are the independent units.

    `nll` (documents,) summed negative log-likelihood in nats, `tokens` (documents,) scored tokens.
    The error of the ratio of sums is taken by the delta method on the log scale, so documents of any
    length and dependent tokens within them are allowed for. One document gives no interval.
    """
    value, half, n = _nats_per_unit(nll, tokens, groups, "tokens", check_level(level))
    if value + (half or 0) > 700:
        raise DataError(
            "the perplexity overflows",
            got=f"{value:g} nats per token",
            allowed="under 700",
            next_step="check that model and tokenizer belong together",
        )
    name = "perplexity, ratio of document sums, delta method"
    if half is None:
        return Measured(math.exp(value), None, None, n, "1", "measured", f"{name}: one document, no interval")
    return Measured(math.exp(value), math.exp(value - half), math.exp(value + half), n, "1", "measured", name)


def compare_perplexity(
    metric: Metric,
    base: ArrayLike,
    candidate: ArrayLike,
    tokens: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    level: float = 0.95,
) -> Comparison:
    """Ratio of two perplexities on the same tokens: exp of the mean difference in nats per token.

    `base`, `candidate` and `tokens` (documents,) as in `perplexity`. The difference is taken document by
    document, so that what makes a document hard for both cancels; t interval on the log scale.
    """
    a, b = as_floats(base, "base"), as_floats(candidate, "candidate")
    counts = as_counts(tokens, "tokens")
    same_length({"base": a, "candidate": b, "tokens": counts})
    if metric.scale != "ratio" or a.size < 2 or counts.sum() == 0:
        raise DataError(
            "perplexities are compared as a ratio over two documents or more",
            got=f"scale {metric.scale!r}, {a.size} documents, {counts.sum()} tokens",
            allowed="scale 'ratio', 2 or more",
            next_step="cut a single text into blocks",
        )
    away, se, degrees = ratio_error(b - a, counts.astype(float), group_codes(groups, a.size))
    half = t_quantile(degrees, check_level(level)) * se
    bounds = math.exp(away - half), math.exp(away + half)
    first, second = (math.exp(float(x.sum() / counts.sum())) for x in (a, b))
    detectable = math.expm1(detectable_effect(se)) or None
    return compared(metric, first, second, bounds, detectable, "paired by document, t on the log scale")


def bits_per_byte(
    nll: ArrayLike, byte_counts: ArrayLike, groups: ArrayLike | None = None, *, level: float = 0.95
) -> Measured:
    """Total bits / total UTF-8 bytes: comparable across tokenizers. Inputs as `perplexity`, n in bytes."""
    value, half, n = _nats_per_unit(nll, byte_counts, groups, "bytes", check_level(level))
    bits, name = value / math.log(2), "bits per byte, ratio of document sums, delta method"
    if half is None:
        return Measured(bits, None, None, n, "bit", "measured", f"{name}: one document, no interval")
    wide = half / math.log(2)
    return Measured(bits, max(0.0, bits - wide), bits + wide, n, "bit", "measured", name)


def pass_at_k(n: ArrayLike, c: ArrayLike, k: int) -> FloatArray:
    """Chance that one of k samples passes, per problem: 1 - C(n - c, k) / C(n, k) (Chen et al. 2021).

    `n` (problems,) samples drawn, `c` (problems,) that passed, `k` at most the smallest n. Unbiased;
    not 1 - (1 - c/n)^k, which is too low.
    """
    drawn, passed = as_counts(n, "n", positive=True), as_counts(c, "c")
    same_length({"n": drawn, "c": passed})
    check_positive(k, "k")
    if (passed > drawn).any() or k > drawn.min():
        raise DataError(
            "pass@k needs c <= n and k <= n for every problem",
            allowed="0 <= c <= n, 1 <= k <= n",
            got=f"k {k}, smallest n {drawn.min()}, largest c {passed.max()}",
            next_step="draw at least k samples for each problem",
        )
    wrong = drawn - passed
    chosen = np.maximum(wrong, k)  # avoids the poles of gammaln; those problems are 1 below
    log_none = gammaln(chosen + 1) - gammaln(chosen - k + 1) - gammaln(drawn + 1) + gammaln(drawn - k + 1)
    return np.where(wrong < k, 1.0, -np.expm1(np.minimum(log_none, 0.0)))


def pass_at_k_interval(
    n: ArrayLike,
    c: ArrayLike,
    k: int,
    groups: ArrayLike | None = None,
    *,
    level: float = 0.95,
    replicates: int | None = None,
    seed: int = 0,
) -> Measured:
    """Mean pass@k over problems; problems (or `groups` of them) are resampled, BCa.

    The samples of one problem are not independent units. Where all problems pass, or none, the
    Clopper-Pearson interval of the units, which is careful for any value in [0, 1].
    """
    rates = pass_at_k(n, c, k)
    alpha, codes = check_level(level), group_codes(groups, rates.size)
    value, problems = float(rates.mean()), rates.size
    rows = np.column_stack([rates, np.ones(problems)])
    if rates.min() == rates.max() and value in (0.0, 1.0):
        units = problems if codes is None else int(codes.max()) + 1
        low, high = clopper_pearson_bounds(round(value * units), units, alpha)
        return Measured(
            value, low, high, problems, "1", "measured", f"pass@{k}, Clopper-Pearson on the problems"
        )
    if problems == 1:
        return Measured(value, None, None, 1, "1", "measured", f"pass@{k}: one problem, no interval")
    types = collapse(rows) if codes is None else cluster_rows(rows, codes)
    found = resampled_interval(types, ratio_of_totals, alpha, replicates or DEFAULT_REPLICATES, seed)
    return Measured(value, *found.bounds, problems, "1", "measured", f"pass@{k}, {found.name} over problems")
