"""Errors of other libraries, quoted in one line."""

from __future__ import annotations

__all__ = ["first_line"]


def first_line(error: BaseException) -> str:
    """The first line that says something, else the error's class."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
