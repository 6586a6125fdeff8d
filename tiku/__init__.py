"""tiku (题库): the question bank whose answers are measured.

    import tiku
    result = tiku.exam("my-model", "reviews.csv", require=["accuracy >= 0.98 * base"], minimize="energy")

Importing this package imports neither torch nor numpy; a function imports what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tiku.version import __version__

if TYPE_CHECKING:
    from tiku.api import ask, exam
    from tiku.measure.language.harness import run_harness
    from tiku.measure.stats import pass_at_k, pass_at_k_interval
    from tiku.report.check import check
    from tiku.report.compare import compare
    from tiku.report.schema import read_result

__all__ = [
    "__version__",
    "ask",
    "check",
    "compare",
    "exam",
    "pass_at_k",
    "pass_at_k_interval",
    "read_result",
    "run_harness",
]

_HOMES = {
    "ask": "tiku.api",
    "check": "tiku.report.check",
    "compare": "tiku.report.compare",
    "exam": "tiku.api",
    "pass_at_k": "tiku.measure.stats",
    "pass_at_k_interval": "tiku.measure.stats",
    "read_result": "tiku.report.schema",
    "run_harness": "tiku.measure.language.harness",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tiku' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
