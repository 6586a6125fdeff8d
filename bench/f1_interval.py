"""F1 with a bootstrap interval against resampling with scikit-learn, on one thread."""

from __future__ import annotations

from collections.abc import Iterator

from bench._pairs import Row, alternate, limit_threads, run

_REPLICATES = 100_000
_PEER_REPLICATES = 200


def rows(pairs: int) -> Iterator[Row]:
    """1,000 items, 100,000 replicates."""
    import numpy as np
    from sklearn.metrics import f1_score

    from tiku.core.measured import Measured
    from tiku.measure.stats import confusion_interval

    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 1_000)
    predicted = np.where(rng.random(1_000) < 0.2, 1 - y, y)
    drawn: list[float] = []

    def resampled() -> list[float]:
        for _ in range(_PEER_REPLICATES):
            at = rng.integers(1_000, size=1_000)
            drawn.append(float(f1_score(y[at], predicted[at])))
        return drawn

    def same_interval(ours: Measured, peer: list[float]) -> str:
        exact = float(f1_score(y, predicted))
        assert ours.low is not None and ours.high is not None
        width = float(np.diff(np.quantile(peer, [0.025, 0.975]))[0])
        if abs(ours.value - exact) > 1e-12 or abs((ours.high - ours.low) / width - 1) > 0.2:
            raise AssertionError(f"intervals differ: {ours}, width {width}")
        return (
            f"F1 differ by {abs(ours.value - exact):.1e}; width of the interval {ours.high - ours.low:.4f},"
            f" of the peer's {len(peer):,} replicates {width:.4f}"
        )

    yield alternate(
        f"F1 interval, {_REPLICATES:,} replicates, 1,000 items"
        f" (peer timed on {_PEER_REPLICATES} of them, times {_REPLICATES // _PEER_REPLICATES})",
        lambda: confusion_interval("f1", y, predicted, replicates=_REPLICATES),
        resampled,
        same_interval,
        peer_package="scikit-learn",
        pairs=pairs,
        peer_scale=_REPLICATES / _PEER_REPLICATES,
    )


if __name__ == "__main__":
    limit_threads(1)
    run("f1_interval", rows)
