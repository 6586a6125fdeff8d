"""Cutting a transformers cache back."""

from __future__ import annotations

from typing import Any

from tiku.core.errors import CannotMeasure
from tiku.runtimes._explain import first_line

__all__ = ["crop_cache"]


def crop_cache(module: Any, cache: Any, length: int) -> Any:
    """The cache with its first `length` tokens. Raises `CannotMeasure` where it keeps a running state."""
    if getattr(module, "_is_stateful", False) or not hasattr(cache, "crop"):
        raise _refused(module, "its state cannot go back")
    removed = cache.get_seq_length() - length
    if removed < 0:
        raise ValueError(f"a cache of {length + removed} tokens cannot be cut to {length}")
    if not getattr(cache, "is_croppable", True):
        raise _refused(module, "one of its layers keeps a state instead of keys and values")
    told = hasattr(cache, "activate_past_recording")
    if told and removed == 0:
        cache.activate_past_recording()  # a sliding window must keep what it would have dropped
    try:
        if told or removed:
            cache.crop(-removed)
    except RuntimeError as error:
        raise _refused(module, first_line(error)) from error
    return cache


def _refused(module: Any, why: str) -> CannotMeasure:
    return CannotMeasure(
        f"the cache of this model cannot be cut back: {why}",
        got=type(module).__name__,
        allowed="models whose every layer keeps keys and values",
        next_step="decode without a draft",
    )
