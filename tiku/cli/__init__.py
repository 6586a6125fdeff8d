"""The command line: one thin file per command. Data on stdout, progress and errors on stderr."""

from tiku.cli.app import main

__all__ = ["main"]
