"""The curve of a pass's time by its tokens."""

from __future__ import annotations

from xml.etree import ElementTree

from tiku.report.plots.figure import Look
from tiku.report.plots.scaling import passes

_OWN = {
    "tokens": [1, 16, 256],
    "seconds": [0.01, 0.02, 0.2],
    "base_seconds": [0.02, 0.03, 0.1],
    "turning_point": 12.8,
}


def test_the_curve_and_the_bases_are_drawn_and_told() -> None:
    plot = passes(Look("key", 3, _OWN, None))
    assert plot is not None and len(plot.keys) == 2
    ElementTree.fromstring(plot.svg)
    assert "about 13 tokens" in plot.description.en


def test_a_base_has_one_curve_and_no_details_draw_nothing() -> None:
    alone = passes(Look("key", 3, {**_OWN, "base_seconds": None}, None))
    assert alone is not None and len(alone.keys) == 1
    assert passes(Look("key", 0, {}, None)) is None
