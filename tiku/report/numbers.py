"""How numbers are shown: one unit for a value and its interval, three significant digits. No arithmetic
beyond the change of unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tiku.core.errors import RequirementError
from tiku.core.measured import Measured
from tiku.core.units import format_quantity, parse_quantity
from tiku.core.verdict import Comparison

__all__ = [
    "Shown",
    "show_bytes",
    "show_change",
    "show_duration",
    "show_measured",
    "show_moment",
    "show_value",
]

_NARROW = "\u202f"  # keeps a number and its unit on one line
_MINUS = "\u2212"


@dataclass(frozen=True)
class Shown:
    """A number as text: "10.8 ms" and, where there is one, its interval "10.1 – 11.5 ms"."""

    value: str
    interval: str = ""

    def __str__(self) -> str:
        return f"{self.value} ({self.interval})" if self.interval else self.value


def show_measured(measured: Measured) -> Shown:
    """Value and interval in the unit that suits the value. An exact count shows no interval."""
    reference = measured.value or max(abs(measured.low or 0.0), abs(measured.high or 0.0))
    factor, unit = _scale(reference, measured.unit)
    decimals = _decimals(reference / factor, digits=3 if measured.value else 2)
    value = _with_unit(_fixed(measured.value / factor, decimals), unit)
    if measured.low is None or measured.high is None or measured.low == measured.high:
        return Shown(value)
    low, high = _fixed(measured.low / factor, decimals), _fixed(measured.high / factor, decimals)
    return Shown(value, _with_unit(f"{low} – {high}", unit))


def show_value(value: float, unit: str) -> str:
    """A number without interval, in the unit that suits it."""
    factor, suffix = _scale(value, unit)
    return _with_unit(_fixed(value / factor, _decimals(value / factor)), suffix)


def show_change(comparison: Comparison, unit: str) -> Shown:
    """A ratio as "×0.45 (0.43 – 0.47)", a difference with its sign and the metric's unit."""
    low, effect, high = comparison.low, comparison.effect, comparison.high
    if comparison.scale == "ratio":
        decimals = min(_decimals(effect), 3)
        return Shown(f"×{_fixed(effect, decimals)}", f"{_fixed(low, decimals)} – {_fixed(high, decimals)}")
    factor, suffix = _scale(max((low, effect, high), key=abs), unit)
    decimals = _decimals(max(abs(low), abs(high)) / factor, digits=2)
    value, least, most = (_signed(x / factor, decimals) for x in (effect, low, high))
    return Shown(_with_unit(value, suffix), _with_unit(f"{least} … {most}", suffix))


def show_bytes(count: float) -> str:
    """8340000000 -> "8.34 GB"."""
    return show_value(count, "byte")


def show_duration(seconds: float) -> str:
    """823 -> "13.7 min"."""
    return show_value(seconds, "s")


def show_moment(started: str) -> str:
    """An ISO 8601 moment as "2026-11-03 09:12 UTC"; anything else as it is."""
    try:
        moment = datetime.fromisoformat(started)
    except ValueError:
        return started
    return f"{moment:%Y-%m-%d %H:%M} {moment.tzname() or ''}".strip()


def _scale(value: float, unit: str) -> tuple[float, str]:
    """The factor and the name of the unit in which people read this value."""
    name = format_quantity(value, unit).partition(" ")[2]
    try:
        return (parse_quantity(f"1 {name}")[0], name) if name else (1.0, "")
    except RequirementError:  # a unit of a plugin
        return 1.0, unit


def _decimals(value: float, digits: int = 3) -> int:
    if value == 0 or not math.isfinite(value):
        return 0 if value == 0 else 3
    return min(max(0, digits - 1 - math.floor(math.log10(abs(value)))), 9)


def _fixed(value: float, decimals: int) -> str:
    text = f"{abs(value):,.{decimals}f}"
    negative = value < 0 and any(digit in text for digit in "123456789")
    return _MINUS + text if negative else text


def _signed(value: float, decimals: int) -> str:
    text = _fixed(value, decimals)
    zero = not any(digit in text for digit in "123456789")
    return text if zero or text.startswith(_MINUS) else f"+{text}"


def _with_unit(text: str, unit: str) -> str:
    return f"{text}{_NARROW}{unit}" if unit else text


def axis_scale(values: Sequence[float], unit: str) -> tuple[float, str]:
    """The factor and the unit's name in which an axis over these values reads best."""
    return _scale(max((abs(v) for v in values), default=0.0) / 2, unit)
