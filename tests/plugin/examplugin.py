"""A package of a third party: methods that go wrong in every way a method can."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import ClassVar

from tiku.core.method import Context, Method, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support


@dataclass(frozen=True)
class _Offender(Method):
    stage: ClassVar[Stage] = "serve"
    questions: ClassVar[tuple[str, ...]] = ("inference",)
    title: ClassVar[Text] = Text("An offender", "出错的方法")
    source: ClassVar[str] = "the tests"

    def supports(self, subject: Subject) -> Support:
        return Support.yes()


@dataclass(frozen=True)
class Raises(_Offender):
    name: ClassVar[str] = "raises"

    def apply(self, subject: Subject, context: Context) -> Subject:
        raise ZeroDivisionError("on purpose")


@dataclass(frozen=True)
class Exits(_Offender):
    name: ClassVar[str] = "exits"

    def apply(self, subject: Subject, context: Context) -> Subject:
        os._exit(3)


@dataclass(frozen=True)
class ExitsPolitely(_Offender):
    name: ClassVar[str] = "exits-politely"

    def apply(self, subject: Subject, context: Context) -> Subject:
        sys.exit("enough")


@dataclass(frozen=True)
class Eats(_Offender):
    """Takes memory in steps of 64 MB, up to 8 GB, and keeps it."""

    name: ClassVar[str] = "eats"

    def apply(self, subject: Subject, context: Context) -> Subject:
        held = []
        for _ in range(128):
            held.append(b"x" * (64 << 20))
            time.sleep(0.02)
        raise AssertionError(f"nobody stopped me at {len(held)} pieces")


@dataclass(frozen=True)
class Hangs(_Offender):
    name: ClassVar[str] = "hangs"

    def apply(self, subject: Subject, context: Context) -> Subject:
        time.sleep(3600)
        return subject


@dataclass(frozen=True)
class Peeks(_Offender):
    """Tries to look at the test part."""

    name: ClassVar[str] = "peeks"

    def apply(self, subject: Subject, context: Context) -> Subject:
        raise ValueError(f"test examples seen: {sum(len(splits.test) for splits in context.splits)}")


@dataclass(frozen=True)
class LeavesAChild(_Offender):
    """Starts a process in a session of its own and leaves it behind."""

    name: ClassVar[str] = "leaves-a-child"

    def apply(self, subject: Subject, context: Context) -> Subject:
        import subprocess

        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
        return subject


@dataclass(frozen=True)
class Naps(_Offender):
    """Does nothing, slowly enough to be interrupted."""

    name: ClassVar[str] = "naps"

    def apply(self, subject: Subject, context: Context) -> Subject:
        time.sleep(3)
        return subject
