"""Simulated coverage of intervals, and brute-force answers that tests share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import binom

from tiku.core.measured import Measured
from tiku.core.metric import Direction, Metric, Scale
from tiku.core.text import Text

Draw = Callable[[np.random.Generator], tuple[Measured, float]]


def coverage(draw: Draw, runs: int, seed: int) -> float:
    """Share of simulated samples whose interval holds the truth; `draw` gives (interval, truth)."""
    rng = np.random.default_rng(seed)
    held = 0
    for _ in range(runs):
        found, truth = draw(rng)
        assert found.low is not None and found.high is not None
        held += found.low <= truth <= found.high
    return held / runs


def assert_nominal(
    draw: Draw, runs: int = 1_000, seed: int = 0, *, least: float = 0.93, most: float = 0.97
) -> None:
    """The true coverage lies within `least … most`, up to 3.3 sigma of the simulation (1 in 1,000 a side)."""
    share = coverage(draw, runs, seed)
    low, high = binom.ppf(0.0005, runs, least) / runs, binom.ppf(0.9995, runs, most) / runs
    assert low <= share <= high, f"coverage {share:.4f} outside {low:.4f} … {high:.4f}"


def metric(
    name: str = "accuracy", direction: Direction = "higher", scale: Scale = "difference", margin: float = 0.01
) -> Metric:
    return Metric(name, "1", direction, Text(name, name), scale=scale, margin=margin)


def pairs_auc(y: np.ndarray, s: np.ndarray) -> float:
    """AUC by looking at every pair of a positive and a negative."""
    positive, negative = np.asarray(s)[np.asarray(y) == 1], np.asarray(s)[np.asarray(y) == 0]
    return float(np.mean((positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)))


def clustered(rng: np.random.Generator, clusters: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Group labels (n,) and a normal effect (n,) shared within each group."""
    groups = np.repeat(np.arange(clusters), size)
    return groups, rng.standard_normal(clusters)[groups]
