"""Whether the packages a runtime needs are installed, and the line that installs them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from tiku.core.errors import MissingExtra
from tiku.core.runtime import Runtime
from tiku.core.subject import Subject
from tiku.core.verdict import Support

__all__ = ["installed", "only_fp32", "require"]


def missing(modules: Iterable[str]) -> list[str]:
    """Import names that are not installed. Imports nothing."""
    return [name for name in modules if importlib.util.find_spec(name) is None]


def installed(runtime: Runtime, *build_modules: str) -> Support:
    """Yes, or no with the line that installs what lacks. `build_modules` are needed to build only."""
    lacking = missing((*runtime.modules, *build_modules))
    if not lacking:
        return Support.yes()
    names, line = ", ".join(lacking), _install_line(runtime)
    return Support.no(f"{names} is not installed; {line} installs it", f"没有安装 {names}；可用 {line} 安装")


def require(runtime: Runtime) -> None:
    """Raise `MissingExtra` when a package of the runtime is not installed."""
    lacking = missing(runtime.modules)
    if lacking:
        raise MissingExtra(
            f"the runtime {runtime.name} needs a package that is not installed",
            got=", ".join(lacking),
            next_step=_install_line(runtime),
        )


def only_fp32(runtime: Runtime, subject: Subject, en: str, zh: str) -> Support:
    """Yes for fp32 numerics; no, with the runtime's own reason, for any other."""
    if subject.numerics.scheme == "fp32":
        return Support.yes()
    return Support.no(
        f"{runtime.name} does not run {subject.numerics.scheme}: {en}",
        f"{runtime.name} 不支持 {subject.numerics.scheme}：{zh}",
    )


def _install_line(runtime: Runtime) -> str:
    return (
        f"pip install 'tiku[{runtime.extra}]'"
        if runtime.extra
        else f"pip install {' '.join(runtime.modules)}"
    )
