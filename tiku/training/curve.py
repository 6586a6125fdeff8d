"""The learning curve of a run, as JSON values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Curve", "chance_loss"]

_POINTS = 20


@dataclass
class Curve:
    """What is noted at every step: mean loss per example (nats), seconds since the start, tokens."""

    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    tokens: int = 0  # without padding
    padded_tokens: int = 0
    cpu_seconds: float = 0.0
    validation: list[dict[str, float]] = field(default_factory=list)
    resumed_at: list[int] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Training loss as means over about 20 stretches of steps, validation points, totals and speed."""
        steps, total = len(self.losses), self.seconds[-1]
        ends = sorted({round(steps * (i + 1) / _POINTS) for i in range(_POINTS)} - {0})
        starts = [0, *ends[:-1]]
        return {
            "train": [
                {"step": b, "loss": sum(self.losses[a:b]) / (b - a), "seconds": self.seconds[b - 1]}
                for a, b in zip(starts, ends, strict=True)
            ],
            "validation": self.validation,
            "steps": steps,
            "seconds": total,
            "cpu_seconds": self.cpu_seconds,
            "tokens": self.tokens,
            "tokens_per_second": self.tokens / total if total else None,
            "padding_share": 1.0 - self.tokens / self.padded_tokens,
            "resumed_at": self.resumed_at,
        }


def chance_loss(targets: NDArray[np.int64]) -> float:
    """Entropy (nats) of the class shares: the loss of a model that knows nothing but these shares."""
    import math

    counts, n = Counter(targets.tolist()), len(targets)
    return -sum(c / n * math.log(c / n) for c in counts.values())
