"""`Metric`: what a number is called, its unit, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tiku.core.text import Text

__all__ = ["Direction", "Metric", "Scale"]

Direction = Literal["higher", "lower"]
Scale = Literal["difference", "ratio"]


@dataclass(frozen=True)
class Metric:
    """A name that requirements, results and reports share.

    `unit` is the SI base form the value is stored in ("s", "byte", "J", "1/s", "1"). `scale` says
    how two values are compared: quality by difference, time and size by ratio. `tasks` empty means
    every task. `aliases` are accepted in requirements. `margin` is the largest change that still
    counts as equivalent (absolute for a difference, relative for a ratio).
    """

    name: str
    unit: str
    direction: Direction
    title: Text
    tasks: frozenset[str] = frozenset()
    scale: Scale = "difference"
    margin: float = 0.01
    aliases: tuple[str, ...] = ()

    def better(self, a: float, b: float) -> bool:
        """Whether `a` is strictly better than `b`."""
        return a > b if self.direction == "higher" else a < b

    def applies_to(self, task: str) -> bool:
        """Whether the metric has a meaning for this task."""
        return not self.tasks or task in self.tasks
