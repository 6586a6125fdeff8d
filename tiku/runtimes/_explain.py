"""Errors of other libraries, quoted in one line."""

from __future__ import annotations

import re

__all__ = ["first_line"]


_SUMMARIES = ("-- Conversion is failed for", "-- No conversion rule found for")  # OpenVINO's last lines
_PLACES = re.compile(r"(Exception from|Check '.*' failed at) \S+:\d+:?$")  # where in its sources, not why


def first_line(error: BaseException) -> str:
    """The line that says most: a summary, else the first that says why, else the error's class."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    summary = next((line.removeprefix("-- ") for line in lines if line.startswith(_SUMMARIES)), None)
    return summary or next((line for line in lines if not _PLACES.match(line)), type(error).__name__)
