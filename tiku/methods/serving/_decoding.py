"""Whether a subject's cache can do what a way of decoding asks of it."""

from __future__ import annotations

from tiku.core import registry
from tiku.core.runtime import Runtime
from tiku.core.subject import Subject
from tiku.core.verdict import Support

__all__ = ["rewinds", "shares_batches"]


def rewinds(subject: Subject) -> Support:
    """The cache can be cut back after a wrong draft."""
    if not registry.get("runtimes", subject.runtime).crops:
        return Support.no(
            f"{subject.runtime} cannot cut its key/value cache back after a wrong draft",
            f"{subject.runtime} 无法在草稿被拒绝后回退键值缓存",
        )
    config = getattr(subject.module, "config", None)
    if getattr(subject.module, "_is_stateful", False) or not getattr(config, "use_cache", False):
        return Support.no(
            "this architecture keeps a running state that cannot go back after a wrong draft",
            "该架构以递推状态代替键值缓存，草稿被拒绝后无法回退",
        )
    return Support.yes()


def shares_batches(subject: Subject) -> Support:
    """Requests of different lengths can go through the model together."""
    runtime: Runtime = registry.get("runtimes", subject.runtime)
    if not runtime.batches:
        return Support.no(
            f"{subject.runtime} cannot decode requests of different lengths at once",
            f"{subject.runtime} 无法同时解码长度不同的请求",
        )
    from tiku.runtimes._torch_rows import refusal

    if (why := refusal(subject.module)) is not None:
        return Support.no(
            f"requests of different lengths cannot share a batch: {why}",
            f"长度不同的请求无法共用一个批次：{why}",
        )
    return runtime.decodes_together(subject)
