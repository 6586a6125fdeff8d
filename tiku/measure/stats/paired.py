"""Tests and intervals for two models on the same items: McNemar, Tango, permutation, DeLong, Holm, TOST."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr, chdtrc, ndtr, ndtri, stdtr

from tiku.core.errors import DataError
from tiku.core.measured import Measured
from tiku.measure.stats._checks import (
    FloatArray,
    as_binary,
    as_floats,
    as_scores,
    check_level,
    check_positive,
    group_codes,
    same_length,
)
from tiku.measure.stats.auc import auc_influence, auc_roc

__all__ = [
    "PairedTest",
    "delong_test",
    "holm",
    "mcnemar",
    "paired_proportion_difference",
    "sign_flip_test",
    "tost",
]

_ENUMERATED = 16  # up to this many units that differ, every sign pattern is tried


@dataclass(frozen=True)
class PairedTest:
    """A two-sided test of "no difference": `effect` is the second model minus the first."""

    name: str
    effect: float
    p_value: float
    n: int


def _discordant(base: ArrayLike, candidate: ArrayLike) -> tuple[int, int, int]:
    """(only base right, only candidate right, n)."""
    a, b = as_binary(base, "base"), as_binary(candidate, "candidate")
    same_length({"base": a, "candidate": b})
    return int(np.count_nonzero(a & ~b)), int(np.count_nonzero(b & ~a)), a.size


def mcnemar(base_correct: ArrayLike, candidate_correct: ArrayLike, *, mid_p: bool = True) -> PairedTest:
    """McNemar's test (1947), exact binomial on the items where just one model is right.

    Inputs (n,) 0/1. `mid_p` counts half of the observed outcome (Fagerland, Lydersen, Laake 2013):
    close to the nominal size where the exact test is too careful.
    """
    lost, won, n = _discordant(base_correct, candidate_correct)
    name = "McNemar mid-p" if mid_p else "McNemar exact"
    return PairedTest(name, (won - lost) / n, _binomial_p(lost, won, mid_p), n)


def _binomial_p(lost: int, won: int, mid_p: bool) -> float:
    m, fewer = lost + won, min(lost, won)
    if m == 0:
        return 1.0
    p = 2 * float(bdtr(fewer, m, 0.5))
    if mid_p:
        p -= math.exp(
            math.lgamma(m + 1) - math.lgamma(fewer + 1) - math.lgamma(m - fewer + 1) - m * math.log(2)
        )
    return min(1.0, p)


def _tango_z(delta: float, lost: int, won: int, n: int) -> float:
    """Tango's score statistic for a true difference `delta` (restricted maximum likelihood)."""
    b = -lost - won + (2 * n - won + lost) * delta
    root = math.sqrt(max(0.0, b * b + 8 * n * lost * delta * (1 - delta)))
    lost_share = (root - b) / (4 * n)
    variance = n * (2 * lost_share + delta * (1 - delta))
    gap = won - lost - n * delta
    return gap / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, gap) if gap else 0.0


def tango_bounds(lost: int, won: int, n: int, alpha: float) -> tuple[float, float]:
    """Score interval for a difference of paired proportions (Tango 1998)."""
    z = float(-ndtri(alpha / 2))

    def solve(inside: float, outside: float) -> float:
        for _ in range(60):
            middle = (inside + outside) / 2
            keep = abs(_tango_z(middle, lost, won, n)) <= z
            inside, outside = (middle, outside) if keep else (inside, middle)
        return inside

    observed = (won - lost) / n
    return solve(observed, -1.0), solve(observed, 1.0)


def paired_proportion_difference(
    base_correct: ArrayLike, candidate_correct: ArrayLike, *, level: float = 0.95
) -> Measured:
    """Share right of the candidate minus that of the base on the same items, with Tango's score interval."""
    lost, won, n = _discordant(base_correct, candidate_correct)
    low, high = tango_bounds(lost, won, n, check_level(level))
    return Measured((won - lost) / n, low, high, n, "1", "measured", "Tango score")


def sign_flip_test(
    base: ArrayLike,
    candidate: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    replicates: int = 10_000,
    seed: int = 0,
) -> PairedTest:
    """Permutation test of equal means: swaps the two models within items (or whole groups).

    Inputs (n,) per-item values. All swaps are enumerated up to 16 units that differ; above, random
    ones with the observed pattern counted in (Phipson and Smyth 2010).
    """
    a, b = as_floats(base, "base"), as_floats(candidate, "candidate")
    same_length({"base": a, "candidate": b})
    codes = group_codes(groups, a.size)
    away = b - a if codes is None else np.bincount(codes, weights=b - a)
    moving = away[away != 0]
    observed = abs(moving.sum())
    slack = 1e-12 * np.abs(moving).sum()
    if moving.size <= _ENUMERATED:
        patterns = np.arange(1 << moving.size)[:, None] >> np.arange(moving.size) & 1
        p, name = float(np.mean(np.abs((1 - 2 * patterns) @ moving) >= observed - slack)), "exact"
    else:
        check_positive(replicates, "replicates", 100)
        p, name = _random_flips(moving, float(observed - slack), replicates, seed), f"{replicates} draws"
    return PairedTest(f"sign-flip permutation, {name}", float((b - a).mean()), p, a.size)


def _random_flips(moving: FloatArray, observed: float, replicates: int, seed: int) -> float:
    """Units of one size flip together as one binomial draw, so 0/1 data costs the same at any n."""
    rng = np.random.default_rng(seed)
    sizes, counts = np.unique(np.abs(moving), return_counts=True)
    chunk = max(1, (1 << 22) // sizes.size)
    reached = 0
    for start in range(0, replicates, chunk):
        shape = (min(chunk, replicates - start), sizes.size)
        sums = (2 * rng.binomial(counts, 0.5, size=shape) - counts) @ sizes
        reached += int(np.count_nonzero(np.abs(sums) >= observed))
    return (reached + 1) / (replicates + 1)


def delong_test(
    y: ArrayLike, base: ArrayLike, candidate: ArrayLike, groups: ArrayLike | None = None
) -> PairedTest:
    """DeLong's test (1988) that two models' AUC are equal on the same items; by groups: Obuchowski (1997).

    `y` (n,) 0/1, scores (n,). Raises `DataError` on NaN or one class.
    """
    effect, se, n = auc_difference(y, base, candidate, groups)
    p = 1.0 if effect == 0 else float(chdtrc(1, (effect / se) ** 2)) if se > 0 else 0.0
    return PairedTest("DeLong, paired", effect, p, n)


def auc_difference(
    y: ArrayLike, base: ArrayLike, candidate: ArrayLike, groups: ArrayLike | None
) -> tuple[float, float, int]:
    """Difference of two AUC, its standard error, and n."""
    label = as_binary(y, both=True)
    a, b = as_scores(base, "base scores"), as_scores(candidate, "candidate scores")
    same_length({"labels": label, "base": a, "candidate": b})
    codes = group_codes(groups, label.size)
    away = auc_influence(label, b) - auc_influence(label, a)
    if codes is not None:
        sums = np.bincount(codes, weights=away)
        variance = float(sums @ sums) * sums.size / (sums.size - 1)
    else:
        variance = 0.0
        for part in (away[label], away[~label]):
            variance += float(part @ part) * part.size / max(1, part.size - 1)
    return auc_roc(label, b) - auc_roc(label, a), math.sqrt(variance), label.size


def holm(p_values: ArrayLike) -> FloatArray:
    """P-values adjusted for their number (Holm 1979), shape (m,), in the order given."""
    p = as_floats(p_values, "p-values")
    if p.min() < 0 or p.max() > 1:
        raise DataError(
            "p-values must lie in [0, 1]",
            got=f"{p.min():g} … {p.max():g}",
            allowed="0 to 1",
            next_step="pass p-values, not test statistics",
        )
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty(p.size)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def tost(effect: float, se: float, margin: float, *, degrees: float = math.inf) -> float:
    """P-value that |true effect| is at least `margin` (two one-sided tests, Schuirmann 1987).

    Small: the two models are equivalent within the margin. `degrees` of freedom of `se`.
    """
    if not (margin > 0 and se >= 0 and math.isfinite(effect)):
        raise DataError(
            "equivalence needs a positive margin and a standard error",
            got=f"margin {margin}, se {se}",
            allowed="margin > 0, se >= 0",
            next_step="name the largest change that does not matter",
        )
    nearest = margin - abs(effect)
    if se == 0:
        return 0.0 if nearest > 0 else 1.0
    t = -nearest / se
    return float(ndtr(t) if math.isinf(degrees) else stdtr(degrees, t))
