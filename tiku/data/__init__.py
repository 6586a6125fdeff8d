"""From files, samples and Python lists to datasets, and from a dataset to its four splits.

Names are imported when they are first used, so that listing the samples costs no NumPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiku.data.choices import Choices
    from tiku.data.columns import Columns
    from tiku.data.labelled_texts import LabelledTexts
    from tiku.data.loaded import LoadedData
    from tiku.data.loading import load
    from tiku.data.prose import Prose
    from tiku.data.splitting import Fractions, split

__all__ = ["Choices", "Columns", "Fractions", "LabelledTexts", "LoadedData", "Prose", "load", "split"]

_HOMES = {
    "Choices": "choices",
    "Columns": "columns",
    "Fractions": "splitting",
    "LabelledTexts": "labelled_texts",
    "LoadedData": "loaded",
    "Prose": "prose",
    "load": "loading",
    "split": "splitting",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
