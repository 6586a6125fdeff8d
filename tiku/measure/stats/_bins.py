"""Items in bins of like confidence: the gap of each bin, its noise, and the calibration error behind it.

Shape letters: N items, B bins, D draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from tiku.measure.stats._checks import FloatArray, IntArray

__all__ = ["DRAWS", "BinMode", "Bins", "bin_codes", "bin_edges", "binned", "draw_noise", "plug_in"]

BinMode = Literal["width", "mass"]
DRAWS = 1_000
_STANDS_OUT = 2.0  # standard errors from which a bin's gap counts as its own, not as noise
_LEAST = 1e-12  # variance of a bin whose items are all certain and right


@dataclass(frozen=True, eq=False)
class Bins:
    """`place` (N,) is each item's bin by its edges, `code` (N,) the same without the empty ones; `count`,
    mean `confidence`, `gap` (confidence - share right) and its standard `error` are (B,); `away` (N,)
    is how far an item lies from the gap of its bin."""

    place: IntArray
    code: IntArray
    count: IntArray
    confidence: FloatArray
    gap: FloatArray
    error: FloatArray
    away: FloatArray

    @property
    def weight(self) -> FloatArray:
        """Share of the items, (B,)."""
        weights: FloatArray = self.count / self.count.sum()
        return weights

    def chances(self, gaps: FloatArray) -> FloatArray:
        """The share right (B,) in bins with these true gaps, as far as there is room for them."""
        chance: FloatArray = np.clip(self.confidence - gaps, 0, 1)
        return chance

    @property
    def shared(self) -> FloatArray:
        """All bins share the error; each on the side where there is room for it."""
        return np.where(self.confidence >= 0.5, 1.0, -1.0)

    @cached_property
    def _cautious(self) -> FloatArray:
        """Standard errors (B,) that never vanish (Jeffreys), to weigh the bins by."""
        share = (self.count * (self.confidence - self.gap) + 0.5) / (self.count + 1)
        errors: FloatArray = np.maximum(self.error, np.sqrt(share * (1 - share) / self.count))
        return errors

    @property
    def likely(self) -> FloatArray:
        """The gaps with their noise taken out: drawn towards their common mean (DerSimonian, Laird 1986)."""
        precision = 1 / self._cautious**2
        mean = float(precision @ self.gap / precision.sum())
        excess = float(precision @ (self.gap - mean) ** 2) - (self.gap.size - 1)
        scale = float(precision.sum() - (precision**2).sum() / precision.sum())
        spread = max(0.0, excess / scale) if scale > 0 else 0.0
        drawn: FloatArray = mean + spread / (spread + 1 / precision) * (self.gap - mean)
        return drawn

    @property
    def outstanding(self) -> FloatArray:
        """Only the gaps that stand out of the noise (the largest, where none does)."""
        strength = np.abs(self.gap) / self._cautious
        return np.where(strength >= min(_STANDS_OUT, float(strength.max())), self.gap, 0.0)


def bin_edges(p: FloatArray, bins: int, mode: BinMode) -> FloatArray:
    """Edges of equal widths, or of equal numbers of items (ties stay together, so bins may be fewer)."""
    if mode == "width":
        return np.linspace(0, 1, bins + 1)
    return np.unique(np.quantile(p, np.linspace(0, 1, bins + 1), method="inverted_cdf"))


def bin_codes(p: FloatArray, edges: FloatArray) -> IntArray:
    """Bins (low, high], the first one closed; equal confidences are never split."""
    return np.clip(np.searchsorted(edges, p, side="left") - 1, 0, max(0, edges.size - 2)).astype(np.int64)


def binned(p: FloatArray, y: FloatArray, bins: int, mode: BinMode, groups: IntArray | None = None) -> Bins:
    """Confidences (N,) and whether each item was right (N,), in bins; `groups` (N,) for cluster errors."""
    place = bin_codes(p, bin_edges(p, bins, mode))
    code = np.unique(place, return_inverse=True)[1].astype(np.int64)
    count = np.bincount(code)
    confidence = np.bincount(code, weights=p) / count
    hits = np.bincount(code, weights=y)
    gap = confidence - hits / count
    away = p - y - gap[code]
    smooth = (hits + confidence) / (count + 1)  # never 0 or 1: no errors, still noise
    error = np.sqrt(np.maximum(smooth * (1 - smooth), _LEAST) / count)
    if groups is not None:
        error = np.maximum(error, _cluster_errors(away, code, groups, count))
    return Bins(place, code, count, confidence, gap, error, away)


def _cluster_errors(away: FloatArray, codes: IntArray, groups: IntArray, count: IntArray) -> FloatArray:
    pair, at = np.unique(groups * count.size + codes, return_inverse=True)
    sums, of_bin = np.bincount(at, weights=away), pair % count.size
    members = np.bincount(of_bin, minlength=count.size)
    squares = np.bincount(of_bin, weights=sums**2, minlength=count.size)
    return np.sqrt(squares * members / np.maximum(members - 1, 1)) / count


def plug_in(found: Bins) -> float:
    """The expected calibration error as usually computed: biased upward."""
    return float(found.weight @ np.abs(found.gap))


def draw_noise(models: Sequence[Bins], groups: IntArray | None, seed: int) -> list[FloatArray]:
    """Noise of the gaps, (D, B) for each model, correlated as the bins are across models on the same items,
    and across bins where items of a group share their luck."""
    correlation = np.block([[_shared(a, b, groups) for b in models] for a in models])
    scale = np.sqrt(np.diag(correlation))
    product = np.outer(scale, scale)
    correlation = np.divide(correlation, product, out=np.zeros_like(correlation), where=product > 0)
    np.fill_diagonal(correlation, 1.0)
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.clip(values, 0, None))
    standard = np.random.default_rng(seed).standard_normal((DRAWS, scale.size)) @ root.T
    ends = np.cumsum([model.gap.size for model in models])[:-1]
    return [part * model.error for part, model in zip(np.split(standard, ends, axis=1), models, strict=True)]


def _shared(a: Bins, b: Bins, groups: IntArray | None) -> FloatArray:
    """Sums of products of what items, or groups, add to the gaps of two models, (B, B)."""
    if groups is not None:
        return _group_sums(a, groups).T @ _group_sums(b, groups)
    cells = a.code * b.gap.size + b.code
    sums = np.bincount(cells, weights=a.away * b.away, minlength=a.gap.size * b.gap.size)
    return sums.reshape(a.gap.size, b.gap.size).astype(np.float64)


def _group_sums(found: Bins, groups: IntArray) -> FloatArray:
    width, number = found.gap.size, int(groups.max()) + 1
    sums = np.bincount(groups * width + found.code, weights=found.away, minlength=number * width)
    return sums.reshape(number, width).astype(np.float64)
