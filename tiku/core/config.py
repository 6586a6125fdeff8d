"""Declared parameters: a frozen dataclass whose fields know their range and their meaning."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, TypeVar

from tiku.core.errors import RecipeError
from tiku.core.registry import closest

__all__ = ["build_config", "check_config", "param"]

T = TypeVar("T")


def param(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[Any, ...] | None = None,
) -> Any:
    """A dataclass field with its meaning and allowed range (`low … high` inclusive, or `choices`)."""
    meta = {"help": help, "low": low, "high": high, "choices": choices}
    return dataclasses.field(default=default, metadata=meta)


def build_config(kind: type[T], values: Mapping[str, Any], *, name: str) -> T:
    """Construct the dataclass from outside values. Raises `RecipeError` with what is allowed."""
    if not isinstance(values, Mapping):
        raise RecipeError(
            f"the config of {name} is not a mapping",
            got=values,
            allowed="key: value pairs",
            next_step="write config: {KEY: VALUE}",
        )
    fields = {f.name: f for f in dataclasses.fields(kind) if f.init}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise RecipeError(
                f"{name} has no parameter of this name",
                got=key,
                allowed=fields or "none",
                next_step=closest(str(key), fields) or "remove it",
            )
    config = kind(**values)
    check_config(config, name=name)
    return config


def check_config(config: object, *, name: str) -> None:
    """Check each declared parameter against its default's type and its range."""
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        if field.init:
            _check_value(name, field, getattr(config, field.name))


def _check_value(name: str, field: dataclasses.Field[Any], value: Any) -> None:
    meta, default = field.metadata, field.default
    if value is None and default is None:
        return
    choices, low, high = meta.get("choices"), meta.get("low"), meta.get("high")
    if choices is not None and value not in choices:
        raise _unfit(f"{name}.{field.name} is not one of its choices", value, ", ".join(map(str, choices)))
    numeric = low is not None or high is not None
    if numeric and (
        isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value)
    ):
        raise _unfit(f"{name}.{field.name} must be a number", value, _span(low, high))
    if numeric and isinstance(default, int) and not isinstance(default, bool) and not isinstance(value, int):
        raise _unfit(f"{name}.{field.name} must be a whole number", value, _span(low, high))
    if isinstance(default, bool | str) and choices is None and not isinstance(value, type(default)):
        kind = "true or false" if isinstance(default, bool) else "text"
        raise _unfit(f"{name}.{field.name} must be {kind}", value, kind)
    if (low is not None and value < low) or (high is not None and value > high):
        raise _unfit(f"{name}.{field.name} is out of range", value, _span(low, high))


def _unfit(what: str, value: Any, allowed: str) -> RecipeError:
    return RecipeError(what, got=value, allowed=allowed, next_step="correct this value, or leave it out")


def _span(low: float | None, high: float | None) -> str:
    return f"{'-∞' if low is None else low} … {'∞' if high is None else high}"
