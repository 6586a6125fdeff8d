"""The contract of an instrument's declaration."""

from __future__ import annotations

import math
import re

from tiku.core.instrument import Instrument
from tiku.core.task import TASKS
from tiku.core.units import BASE_UNITS
from tiku.testing.clauses import bilingual, named_after_file

__all__ = ["check_instrument"]

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def check_instrument(instrument: Instrument) -> None:
    """Names, units, directions, margins and titles of every metric it measures."""
    where = f"instrument {instrument.name}"
    named_after_file(instrument.name.replace("_", "-"), type(instrument).__module__)
    assert instrument.metrics, f"{where} measures nothing"
    names = [name for metric in instrument.metrics for name in (metric.name, *metric.aliases)]
    assert len(set(names)) == len(names), f"{where}: a metric name or alias is used twice"
    for metric in instrument.metrics:
        at = f"{where}, metric {metric.name}"
        assert all(_NAME.fullmatch(name) for name in (metric.name, *metric.aliases)), f"{at}: not snake_case"
        assert metric.unit in BASE_UNITS, f"{at}: unit {metric.unit!r} is not one of {sorted(BASE_UNITS)}"
        assert metric.direction in ("higher", "lower"), f"{at}: direction {metric.direction!r}"
        assert metric.scale in ("difference", "ratio"), f"{at}: scale {metric.scale!r}"
        assert math.isfinite(metric.margin) and metric.margin > 0, f"{at}: margin {metric.margin}"
        assert metric.tasks <= set(TASKS), f"{at}: unknown tasks {sorted(metric.tasks - set(TASKS))}"
        bilingual(metric.title, f"{at}: title", name_allowed=True)
