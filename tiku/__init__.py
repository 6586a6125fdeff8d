"""tiku (题库): the question bank whose answers are measured. Importing this imports no torch."""

from tiku.version import __version__

__all__ = ["__version__"]
