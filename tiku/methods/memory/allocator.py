"""The process allocator: which one keeps the freed memory of the model, and how much of it."""

from __future__ import annotations

import ctypes.util
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.startup import PRELOAD
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support

__all__ = ["METHOD", "Allocator"]

_PACKAGES = {"jemalloc": "libjemalloc2", "mimalloc": "libmimalloc2.0"}  # of Debian, and of Ubuntu


@dataclass(frozen=True)
class Allocator(Method):
    """Starts the serving process with another allocator, or with glibc told to give memory back.

    glibc raises its thresholds with the largest block it has seen freed, up to 32 MiB, and keeps what lies
    below. Fixed thresholds stop that: blocks of `mmap_kib` or more are mapped, and returned when freed; the
    system then zeroes every page again, so time is the price. `jemalloc` and `mimalloc` are preloaded.

    It is the environment that a process starts with: the artefact's manifest and README carry it, `tiku
    predict` starts itself again with it, and the exam measures memory and time in processes started so.
    """

    name: ClassVar[str] = "allocator"
    promise: ClassVar[float] = 0.58
    stage: ClassVar[Stage] = "serve"
    questions: ClassVar[tuple[str, ...]] = ("memory",)
    title: ClassVar[Text] = Text("Process allocator", "进程内存分配器")
    source: ClassVar[str] = (
        "glibc manual, Memory Allocation Tunables; Evans 2006 (jemalloc); Leijen 2019 (mimalloc)"
    )

    library: str = param(
        "glibc", "glibc: the system's own, tuned; others are preloaded", choices=("glibc", *_PACKAGES)
    )
    mmap_kib: int = param(1024, "glibc: blocks from this size on are mapped", low=4, high=32_768)
    trim_kib: int = param(1024, "glibc: free memory at the heap's top that is kept", low=0, high=1_048_576)
    arenas: int = param(2, "glibc: heaps that threads share at most", low=1, high=1024)

    def supports(self, subject: Subject) -> Support:
        if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
            return Support.no(
                f"only Linux with glibc takes its allocator from the environment, and this is "
                f"{platform.system()} {platform.libc_ver()[0]}".rstrip(),
                f"只有使用 glibc 的 Linux 可由环境变量选择分配器，当前为 {platform.system()}",
            )
        if self.library == "glibc" or _soname(self.library) is not None:
            return Support.yes()
        package = _PACKAGES[self.library]
        return Support.no(
            f"lib{self.library} is not on this system; apt install {package} (Debian, Ubuntu) brings it",
            f"系统中没有 lib{self.library}；在 Debian、Ubuntu 上可用 apt install {package} 安装",
        )

    def apply(self, subject: Subject, context: Context) -> Subject:
        environment = {**subject.serve.environment, **self._environment()}
        facts = {**subject.facts, "allocator": {"library": self.library, "environment": environment}}
        return replace(subject, serve=replace(subject.serve, environment=environment), facts=facts)

    def _environment(self) -> Mapping[str, str]:
        if self.library != "glibc":
            return {PRELOAD: str(_soname(self.library))}
        return {
            "MALLOC_MMAP_THRESHOLD_": str(1024 * self.mmap_kib),
            "MALLOC_TRIM_THRESHOLD_": str(1024 * self.trim_kib),
            "MALLOC_ARENA_MAX": str(self.arenas),
        }

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        """glibc told to give back, and the first other allocator that is there (or its refusal)."""
        there = [name for name in _PACKAGES if _soname(name) is not None]
        return (cls(), cls(library=(there or list(_PACKAGES))[0]))


def _soname(library: str) -> str | None:
    """The name by which the loader finds it, such as libjemalloc.so.2; None where it does not."""
    for folder in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep):
        found = sorted(Path(folder).glob(f"lib{library}.so.*")) if folder else []
        if found:
            return found[0].name
    return ctypes.util.find_library(library)


METHOD = Allocator
