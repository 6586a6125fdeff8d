"""What this machine can do at most: bytes read and float32 operations per second (Williams et al. 2009).

A pass that reads every weight once for T tokens takes at least max(bytes / bandwidth, 2 * weights * T /
flops): below the ridge, T = 2 * flops / bandwidth for float32 weights, memory decides, above it arithmetic.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tiku.core.measured import Measured

__all__ = ["Roofline", "roofline"]

_READ_FLOATS = 64 * 2**20  # 256 MiB: more than the caches hold
_SIDE = 1024
_REPETITIONS = 7


@dataclass(frozen=True)
class Roofline:
    """`bandwidth` in bytes/s (one pass of reading), `flops` in float32 operations/s (square matrices)."""

    bandwidth: Measured
    flops: Measured
    threads: int

    @property
    def ridge_tokens(self) -> float:
        """Tokens per pass from which arithmetic on float32 weights takes longer than reading them."""
        return 2.0 * self.flops.value / self.bandwidth.value

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "bytes_per_second": self.bandwidth.value,
            "flops_per_second": self.flops.value,
            "ridge_tokens": self.ridge_tokens,
            "threads": self.threads,
        }


def roofline(threads: int, *, repetitions: int = _REPETITIONS) -> Roofline:
    """Measure with `threads` threads of torch, in about a second; the thread count is put back."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        long, square = torch.ones(_READ_FLOATS), torch.ones(_SIDE, _SIDE)
        bandwidth = _rate(lambda: long.sum(), 4.0 * _READ_FLOATS, repetitions, "byte/s")
        flops = _rate(lambda: square @ square, 2.0 * _SIDE**3, repetitions, "1/s")
    finally:
        torch.set_num_threads(before)
    return Roofline(bandwidth, flops, threads)


def _rate(work: Callable[[], object], amount: float, repetitions: int, unit: str) -> Measured:
    """Amount per second of the fastest half of the repetitions: a ceiling, not what is usual."""
    import numpy as np

    from tiku.measure.clock_statistics import geometric_mean

    seconds = []
    for _ in range(repetitions + 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    fastest = np.sort(np.array(seconds[1:]))[: max(2, repetitions // 2)]
    return geometric_mean(amount / fastest, unit)
