"""What commands print: JSON or text on stdout, progress on stderr."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tiku.core.errors import printable
from tiku.core.hashing import canonical
from tiku.core.text import Language
from tiku.examination.timeline import Update, Watch, unwatched
from tiku.report.streams import styled

__all__ = ["print_json", "remark", "take_any_character", "wants_json", "watching"]

_PLAIN_SECONDS = 10.0  # without a terminal, one line per part and at most one every so many seconds


def wants_json() -> bool:
    """Whether --json was given; also known where parsing the options failed."""
    return "--json" in sys.argv[1:]


def print_json(value: Any) -> None:
    """One JSON document on stdout; ASCII only where stdout is not Unicode."""
    unicode = "utf" in (sys.stdout.encoding or "").lower()
    print(json.dumps(value, default=canonical, ensure_ascii=not unicode, indent=1, allow_nan=False))


def take_any_character() -> None:
    """Escape on output what the terminal's encoding lacks, where Python would raise an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def watching(quiet: bool, language: Language) -> Iterator[Watch]:
    """A watcher that draws on stderr: a bar on a terminal, lines elsewhere, nothing when quiet."""
    if quiet:
        yield unwatched
    elif styled(sys.stderr):
        with _bar(language) as watch:
            yield watch
    else:
        yield _Lines(language)


def remark(text: str) -> None:
    """A remark on stderr."""
    print(f"- {printable(text)}", file=sys.stderr, flush=True)


class _Lines:
    """One line when a part begins, and now and then while it runs."""

    def __init__(self, language: Language) -> None:
        self._language = language
        self._title: str | None = None
        self._last = -_PLAIN_SECONDS

    def __call__(self, update: Update) -> None:
        if update.remark is not None:
            remark(update.remark[self._language])
            return
        new = update.title != self._title
        if new or update.elapsed_seconds - self._last >= _PLAIN_SECONDS:
            self._title, self._last = update.title, update.elapsed_seconds
            note = f" · {update.note}" if update.note else ""
            left = "" if update.left_seconds is None else f", about {_clock(update.left_seconds)} left"
            print(
                f"[{_clock(update.elapsed_seconds)}{left}] {update.title}{note}", file=sys.stderr, flush=True
            )


@contextmanager
def _bar(language: Language) -> Iterator[Watch]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.fields[clock]}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[left]}"),
        TextColumn("[bold]{task.description}[/bold]"),
        TextColumn("[dim]{task.fields[note]}[/dim]"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4) as progress:
        bar = progress.add_task("", total=None, clock="", left="", note="")

        def watch(update: Update) -> None:
            if update.remark is not None:
                said = f"- {printable(update.remark[language])}"
                progress.console.print(said, style="dim", markup=False, highlight=False)
                return
            left = update.left_seconds
            progress.update(
                bar,
                description=_escape(update.title),
                total=None if left is None else max(update.elapsed_seconds + left, 1e-9),
                completed=update.elapsed_seconds,
                clock=_clock(update.elapsed_seconds),
                left="" if left is None else f"{_clock(left)} left",
                note=_escape(update.note[:60]),
            )

        yield watch


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
