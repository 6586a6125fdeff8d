"""Units: a number with its unit to the base form of SI, and back to what people read."""

from __future__ import annotations

import math
import re

from tiku.core.errors import RequirementError
from tiku.core.registry import closest

__all__ = ["BASE_UNITS", "format_quantity", "parse_quantity"]

# unit -> (base unit, factor). "pt" is a percentage point of a proportion.
_UNITS: dict[str, tuple[str, float]] = {
    "ns": ("s", 1e-9), "us": ("s", 1e-6), "µs": ("s", 1e-6), "ms": ("s", 1e-3),
    "s": ("s", 1.0), "min": ("s", 60.0), "h": ("s", 3600.0),
    "B": ("byte", 1.0), "byte": ("byte", 1.0), "bytes": ("byte", 1.0),
    "kB": ("byte", 1e3), "KB": ("byte", 1e3), "MB": ("byte", 1e6), "GB": ("byte", 1e9), "TB": ("byte", 1e12),
    "KiB": ("byte", 2.0**10), "MiB": ("byte", 2.0**20), "GiB": ("byte", 2.0**30),
    "mJ": ("J", 1e-3), "J": ("J", 1.0), "kJ": ("J", 1e3), "MJ": ("J", 1e6),
    "Wh": ("J", 3600.0), "kWh": ("J", 3.6e6),
    "/s": ("1/s", 1.0), "1/s": ("1/s", 1.0), "%": ("1", 0.01), "pt": ("1", 0.01), "1": ("1", 1.0),
    "bit": ("bit", 1.0), "bits": ("bit", 1.0),
}  # fmt: skip

BASE_UNITS = frozenset(base for base, _ in _UNITS.values())

_NUMBER = re.compile(r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S*)\s*$")
_SHOWN: dict[str, tuple[tuple[str, float], ...]] = {
    "s": (("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)),
    "byte": (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0)),
    "J": (("MJ", 1e6), ("kJ", 1e3), ("J", 1.0), ("mJ", 1e-3), ("µJ", 1e-6)),
    "1/s": (("/s", 1.0),),
    "bit": (("bits", 1.0),),
}


def parse_quantity(text: str) -> tuple[float, str]:
    """ "20 ms" -> (0.02, "s"). A bare number has the unit "1". Raises `RequirementError`."""
    match = _NUMBER.match(text)
    if not match or not math.isfinite(float(match[1])):
        raise RequirementError(
            "this is not a number with a unit",
            got=text,
            allowed="for example 0.9, 20 ms, 200 MB, 1 kJ, 2 pt",
            next_step="write the number first, then its unit",
        )
    number, unit = float(match[1]), match[2] or "1"
    if unit not in _UNITS:
        raise RequirementError(
            "unknown unit",
            got=unit,
            allowed=_UNITS,
            next_step=closest(unit, _UNITS) or "use one of these units",
        )
    base, factor = _UNITS[unit]
    return number * factor, base


def format_quantity(value: float, unit: str, digits: int = 3) -> str:
    """(0.0213, "s") -> "21.3 ms". Proportions and plain numbers keep `digits` significant digits."""
    if unit not in _SHOWN:
        suffix = "" if unit == "1" else f" {unit}"
        return f"{_significant(value, digits)}{suffix}"
    scales = _SHOWN[unit]
    name, factor = next(((n, f) for n, f in scales if abs(value) >= f), scales[-1] if value else scales[0])
    if value == 0:
        name, factor = next((n, f) for n, f in scales if f == 1.0)
    return f"{_significant(value / factor, digits)} {name}"


def _significant(value: float, digits: int) -> str:
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"
