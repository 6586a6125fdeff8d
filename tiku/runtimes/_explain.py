"""Errors of other libraries, quoted in one line."""

from __future__ import annotations

__all__ = ["first_line"]


_SUMMARIES = ("-- Conversion is failed for", "-- No conversion rule found for")  # OpenVINO's last lines


def first_line(error: BaseException) -> str:
    """The line that says most: a summary, else the first that is not empty, else the error's class."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    summary = next((line.removeprefix("-- ") for line in lines if line.startswith(_SUMMARIES)), None)
    return summary or next(iter(lines), type(error).__name__)
