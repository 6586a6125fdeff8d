"""Exact AUC-ROC, its interval, and its bootstrap against scikit-learn, on one thread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench._pairs import Row, alternate, limit_threads, run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_REPLICATES = 1_000
_PEER_REPLICATES = 10


def _scores(n: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Labels (n,) and float32 scores (n,): two normal distributions one apart, AUC about 0.76."""
    import numpy as np

    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n)
    return y, (rng.standard_normal(n) + y).astype(np.float32)


def _same_value(ours: float, peer: float) -> str:
    gap = abs(ours - peer)
    if gap > 1e-12:
        raise AssertionError(f"AUC differ: {ours!r} and {peer!r}")
    return f"AUC differ by {gap:.1e}"


def _exact(n: int, pairs: int) -> Row:
    from sklearn.metrics import roc_auc_score

    from tiku.measure.stats import auc_roc

    y, s = _scores(n)
    return alternate(
        f"exact AUROC, {n:,} float32 scores",
        lambda: auc_roc(y, s),
        lambda: float(roc_auc_score(y, s)),
        _same_value,
        peer_package="scikit-learn",
        pairs=pairs,
    )


def _interval(n: int, pairs: int) -> Row:
    from sklearn.metrics import roc_auc_score

    from tiku.measure.stats import auc_roc_interval

    y, s = _scores(n)
    return alternate(
        f"AUROC with its 95 % interval, {n:,} float32 scores (scikit-learn: the value alone)",
        lambda: auc_roc_interval(y, s),
        lambda: float(roc_auc_score(y, s)),
        lambda ours, peer: f"{_same_value(ours.value, peer)}; ours adds {ours.low:.6f} … {ours.high:.6f}",
        peer_package="scikit-learn",
        pairs=pairs,
    )


def _bootstrap(n: int, pairs: int) -> Row:
    """The peer draws n items with replacement and scores them; all its replicates check the spread."""
    import numpy as np
    from scipy.stats import chi2
    from sklearn.metrics import roc_auc_score

    from tiku.measure.stats import auc_roc_replicates

    y, s = _scores(n)
    rng = np.random.default_rng(1)
    drawn: list[float] = []

    def resampled() -> list[float]:
        for _ in range(_PEER_REPLICATES):
            at = rng.integers(n, size=n)
            drawn.append(float(roc_auc_score(y[at], s[at])))
        return drawn

    def same_spread(ours: NDArray[np.float64], peer: list[float]) -> str:
        ratio, freedom = float(np.var(peer, ddof=1) / np.var(ours, ddof=1)), len(peer) - 1
        low, high = chi2.ppf([0.0005, 0.9995], freedom) / freedom
        if not low < ratio < high:
            raise AssertionError(f"variances of the replicates differ: ratio {ratio}")
        spread = [f"{np.std(part, ddof=1):.3e} ({len(part)})" for part in (ours, peer)]
        away = np.mean(ours) - np.mean(peer)
        return f"spread of replicates: ours {spread[0]}, peer {spread[1]}; means differ by {away:.1e}"

    return alternate(
        f"bootstrap of AUROC, {_REPLICATES:,} replicates, {n:,} float32 scores"
        f" (peer timed on {_PEER_REPLICATES} of them, times {_REPLICATES // _PEER_REPLICATES})",
        lambda: auc_roc_replicates(y, s, replicates=_REPLICATES),
        resampled,
        same_spread,
        peer_package="scikit-learn",
        pairs=pairs,
        peer_scale=_REPLICATES / _PEER_REPLICATES,
    )


def rows(pairs: int) -> Iterator[Row]:
    """Every case."""
    yield _exact(1_000_000, pairs)
    yield _exact(10_000_000, pairs)
    yield _interval(10_000_000, pairs)
    yield _bootstrap(1_000_000, pairs)


if __name__ == "__main__":
    limit_threads(1)
    run("auroc", rows)
