"""How small an effect a sample can show, and how many items a verdict needs."""

from __future__ import annotations

import math

from scipy.special import ndtri

from tiku.core.errors import DataError
from tiku.measure.stats._checks import check_level, check_positive

__all__ = ["detectable_effect", "detectable_paired_accuracy", "items_for_effect", "items_for_paired_accuracy"]


def _quantiles(power: float, level: float) -> tuple[float, float]:
    alpha = check_level(level)
    if not alpha / 2 < power < 1:
        raise DataError(
            "power is out of range",
            got=power,
            allowed="between 0 and 1, such as 0.8",
            next_step="pass the probability of finding the effect",
        )
    return float(-ndtri(alpha / 2)), float(ndtri(power))


def _check_effect(effect: float, most: float, name: str) -> None:
    if not 0 < abs(effect) <= most:
        raise DataError(
            "the effect to detect is out of range",
            got=effect,
            allowed=f"not 0, at most {most:g} ({name})",
            next_step="name the smallest change that matters",
        )


def detectable_effect(se: float, *, power: float = 0.8, level: float = 0.95) -> float:
    """The true effect that a two-sided test with standard error `se` finds with probability `power`."""
    if not se >= 0:
        raise DataError(
            "a standard error is not negative",
            got=se,
            allowed="0 or more",
            next_step="pass the standard error of the difference",
        )
    return sum(_quantiles(power, level)) * se


def items_for_effect(sd: float, effect: float, *, power: float = 0.8, level: float = 0.95) -> int:
    """Items for a paired mean: `sd` is that of the per-item differences."""
    _check_effect(effect, math.inf, "any size")
    if not sd >= 0:
        raise DataError(
            "a standard deviation is not negative",
            got=sd,
            allowed="0 or more",
            next_step="pass the standard deviation of the differences",
        )
    return max(2, math.ceil((sum(_quantiles(power, level)) * sd / effect) ** 2))


def _connor(discordance: float, effect: float, power: float, level: float) -> float:
    z_alpha, z_beta = _quantiles(power, level)
    return (z_alpha * math.sqrt(discordance) + z_beta * math.sqrt(discordance - effect**2)) ** 2 / effect**2


def _check_discordance(discordance: float) -> None:
    if not 0 < discordance <= 1:
        raise DataError(
            "discordance is the share of items where just one model is right",
            got=discordance,
            allowed="above 0, at most 1",
            next_step="two models that never differ need no test",
        )


def items_for_paired_accuracy(
    discordance: float, effect: float, *, power: float = 0.8, level: float = 0.95
) -> int:
    """Items that McNemar's test needs to find a difference of accuracy `effect` (Connor 1987).

    `discordance`: the share of items where exactly one of the two models is right.
    """
    _check_discordance(discordance)
    _check_effect(effect, discordance, "the discordance")
    return math.ceil(_connor(discordance, abs(effect), power, level))


def detectable_paired_accuracy(
    discordance: float, n: int, *, power: float = 0.8, level: float = 0.95
) -> float | None:
    """The smallest difference of accuracy that n items show with this power; None if none can."""
    _check_discordance(discordance)
    check_positive(n, "n")
    if _connor(discordance, discordance, power, level) > n:
        return None
    low, high = 0.0, discordance
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if _connor(discordance, middle, power, level) <= n else (middle, high)
    return high
