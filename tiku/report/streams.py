"""Whether a stream may be given colours, bold letters and a moving bar."""

from __future__ import annotations

import os
from typing import TextIO

__all__ = ["styled"]


def styled(stream: TextIO) -> bool:
    """A terminal that understands codes, and a user who wants them (https://no-color.org).

    NO_COLOR also ends bold letters and the bar: who sets it wants text that can be kept as it is.
    """
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
