"""What the runtime methods share: ask the runtime, then set it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tiku.core import registry
from tiku.core.runtime import Runtime
from tiku.core.subject import Subject
from tiku.core.verdict import Support
from tiku.runtimes._available import installed

__all__ = ["available", "runs_in", "with_runtime"]


def with_runtime(subject: Subject, name: str, options: Mapping[str, Any]) -> Subject:
    """The subject, to be built in this runtime."""
    return replace(subject, runtime=name, runtime_options=dict(options))


def runs_in(subject: Subject, name: str) -> Support:
    """What the runtime itself says about the subject."""
    runtime: Runtime = registry.get("runtimes", name)
    return runtime.supports(replace(subject, runtime=name))


def available(name: str) -> bool:
    """Whether the runtime's packages are installed; an extra is asked for only when it is there."""
    return bool(installed(registry.get("runtimes", name)))
