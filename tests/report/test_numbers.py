from __future__ import annotations

import pytest

from tiku.core.measured import Measured
from tiku.core.verdict import Comparison
from tiku.report.numbers import show_change, show_measured, show_moment, show_value

THIN = "\u202f"
MINUS = "\u2212"


def given(value: float, low: float | None, high: float | None, unit: str) -> str:
    return str(show_measured(Measured(value, low, high, 9, unit, "measured", "x"))).replace(THIN, " ")


@pytest.mark.parametrize(
    ("value", "low", "high", "unit", "shown"),
    [
        (0.0213, 0.0201, 0.0221, "s", "21.3 ms (20.1 – 22.1 ms)"),
        (0.001, 0.0009, 0.0011, "s", "1.00 ms (0.90 – 1.10 ms)"),  # one unit for value and interval
        (0.8521, 0.8349, 0.8688, "1", "0.852 (0.835 – 0.869)"),
        (90_900_000, 90_900_000, 90_900_000, "byte", "90.9 MB"),  # exact: no interval
        (126.0, 123.6, 128.4, "1/s", "126 /s (124 – 128 /s)"),
        (2.0, None, None, "J", "2.00 J"),
        (0.0, 0.0, 0.004, "1", "0.0000 (0.0000 – 0.0040)"),
        (0.0, 0.0, 0.0, "byte", "0 B"),
        (12_345.0, 12_000.0, 12_500.0, "token", "12,345 token (12,000 – 12,500 token)"),
        (-1.5, -2.0, 0.5, "1", f"{MINUS}1.50 ({MINUS}2.00 – 0.50)"),
    ],
)
def test_a_value_and_its_interval_share_unit_and_decimals(
    value: float, low: float | None, high: float | None, unit: str, shown: str
) -> None:
    assert given(value, low, high, unit) == shown


def change(scale: str, effect: float, low: float, high: float, unit: str = "1") -> str:
    comparison = Comparison(1.0, 1.0, scale, effect, low, high, "better", None, "x")  # type: ignore[arg-type]
    return str(show_change(comparison, unit)).replace(THIN, " ")


def test_changes_show_their_sign_or_their_factor() -> None:
    assert change("ratio", 0.45, 0.432, 0.473) == "×0.450 (0.432 – 0.473)"
    assert change("difference", -0.0063, -0.0133, 0.0007) == f"{MINUS}0.006 ({MINUS}0.013 … +0.001)"
    assert change("difference", 0.0, -0.01, 0.01) == f"0.000 ({MINUS}0.010 … +0.010)"
    assert change("difference", 0.0021, 0.0011, 0.0031, "s") == "+2.1 ms (+1.1 … +3.1 ms)"


def test_moments_and_bare_values() -> None:
    assert show_moment("2026-11-03T09:12:04+00:00") == "2026-11-03 09:12 UTC"
    assert show_moment("2026-11-03T09:12:04Z") == "2026-11-03 09:12 UTC"
    assert show_moment("yesterday") == "yesterday"
    assert show_value(30e6, "byte") == f"30.0{THIN}MB"
