"""Quantities to SI and back."""

from __future__ import annotations

import pytest

from tiku.core.units import format_quantity, parse_quantity


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [("20 ms", 0.02, "s"), ("1.5h", 5400, "s"), ("3e2 us", 3e-4, "s"), ("-2 pt", -0.02, "1"),
     (".5", 0.5, "1"),     ("64 KiB", 65536, "byte"), ("2 Wh", 7200, "J"), ("5 /s", 5, "1/s")],
)  # fmt: skip
def test_a_quantity_is_read_in_base_units(text: str, value: float, unit: str) -> None:
    assert parse_quantity(text) == (pytest.approx(value, rel=1e-12), unit)


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [(0.0213, "s", "21.3 ms"), (75, "s", "1.25 min"), (0, "s", "0 s"), (1234567, "byte", "1.23 MB"),
     (0.8461, "1", "0.846"), (12345.6, "1/s", "12,346 /s"), (3600, "J", "3.60 kJ"), (2.5e-9, "s", "2.50 ns")],
)  # fmt: skip
def test_a_value_is_shown_in_the_unit_people_read(value: float, unit: str, shown: str) -> None:
    assert format_quantity(value, unit) == shown
