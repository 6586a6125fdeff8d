"""What the methods share that change how the torch runtime stores its weight files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tiku.core.subject import Subject
from tiku.core.verdict import Support
from tiku.runtimes._storage import STORAGE

__all__ = ["kept_by_torch", "with_storage"]


def kept_by_torch(subject: Subject) -> Support:
    """Yes where the artefact will hold safetensors that torch reads."""
    if subject.runtime == "torch":
        return Support.yes()
    return Support.no(
        f"{subject.runtime} writes its weights into a file of its own, which only it can read",
        f"{subject.runtime} 把权重写入自有格式的文件，只有它自己能读取",
    )


def with_storage(subject: Subject, **asked: Any) -> Subject:
    """The subject with further wishes for its weight files."""
    before = subject.runtime_options
    return replace(subject, runtime_options={**before, STORAGE: {**before.get(STORAGE, {}), **asked}})
