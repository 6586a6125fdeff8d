"""Weight files entropy coded: fewer bytes on disk, the same weights in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.memory._storing import kept_by_torch, with_storage
from tiku.weightfiles.lossless import CODERS, zstd_installed

__all__ = ["METHOD", "LosslessWeights"]


@dataclass(frozen=True)
class LosslessWeights(Method):
    """Splits weights into byte planes and codes each; the exponents of trained weights shrink to a third.

    The bits come back exactly, every block is checked, and one tensor can be read alone. Only
    the files shrink: opened, the model takes the memory it took before. Of the stage "serve" because it
    concerns the files of whatever was built before.
    """

    name: ClassVar[str] = "lossless-weights"
    promise: ClassVar[float] = 0.62
    stage: ClassVar[Stage] = "serve"
    questions: ClassVar[tuple[str, ...]] = ("memory",)
    title: ClassVar[Text] = Text("Lossless compression of the weight files", "权重文件无损压缩")
    source: ClassVar[str] = "Hershcovitch et al. 2024, ZipNN: Lossless Compression for AI Models"
    slot: ClassVar[str | None] = "weight files"

    coder: str = param(
        "zlib",
        "zstd: several times faster to load, needs the package zstandard to write; zlib: always there",
        choices=tuple(CODERS),
    )

    def supports(self, subject: Subject) -> Support:
        if self.coder == "zstd" and not zstd_installed():
            return Support.no(
                "zstandard is not installed; pip install 'tiku[weights]' installs it",
                "没有安装 zstandard；可用 pip install 'tiku[weights]' 安装",
            )
        return kept_by_torch(subject)

    def apply(self, subject: Subject, context: Context) -> Subject:
        facts = {**subject.facts, "lossless_weights": {"coder": self.coder, "resident_memory": "unchanged"}}
        return replace(with_storage(subject, lossless=self.coder), facts=facts)

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        return (cls("zstd" if zstd_installed() else "zlib"),)


METHOD = LosslessWeights
