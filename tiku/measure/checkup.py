"""`doctor`: the machine as tiku sees it, and which optional packages are there."""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import Any

import psutil

from tiku.core import registry
from tiku.core.text import Language, Text
from tiku.core.units import format_quantity
from tiku.data.archives import cache_folder
from tiku.measure.machine import (
    Noise,
    allowed_cores,
    cpu_name,
    energy_here,
    gpus,
    instruction_sets,
    noise,
)
from tiku.version import __version__

__all__ = ["Checkup", "Extra", "aligned", "doctor", "extras"]

_QUIET = 0.10  # the protocol's limit for an A/A control
_STEADY = 0.5  # a wider interquartile range says that other work takes the cores
_FOR_DEVELOPERS = ("test", "lint", "bench")
_EXTRA_MARKER = re.compile(r"extra\s*==\s*['\"]([\w.-]+)['\"]")


@dataclass(frozen=True)
class Extra:
    """An optional part of tiku: the packages it needs (name -> version, None when missing), what they
    bring, and the line that installs them."""

    name: str
    packages: dict[str, str | None]
    brings: tuple[str, ...]
    install: str

    @property
    def there(self) -> bool:
        """Whether every package is installed."""
        return None not in self.packages.values()


@dataclass(frozen=True)
class Checkup:
    """What `tiku doctor` shows."""

    tiku: str
    python: str
    system: str
    cpu: str
    isa: tuple[str, ...]
    cores: int
    physical_cores: int
    ram_bytes: int
    ram_free_bytes: int
    cache: str
    cache_free_bytes: int
    gpu: tuple[str, ...]
    energy_source: str
    energy_note: Text
    noise: Noise
    extras: tuple[Extra, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values; each extra also says whether it is there."""
        values = asdict(self)
        values["extras"] = [{**asdict(e), "there": e.there} for e in self.extras]
        return values

    def lines(self, language: Language) -> list[str]:
        """What people read."""
        return [*aligned(self._rows(language), language), "", *_extra_lines(self.extras, language)]

    def _rows(self, language: Language) -> list[tuple[Text, str]]:
        free = Text("free", "可用")[language]
        quiet = abs(self.noise.aa) <= _QUIET and self.noise.spread <= _STEADY
        verdict = _QUIET_ENOUGH if quiet else _NOISY
        none = Text("none", "无")[language]
        cores = Text(
            f"{self.cores} logical, {self.physical_cores} physical",
            f"逻辑核 {self.cores}，物理核 {self.physical_cores}",
        )
        deviation = f"A/A {self.noise.aa:+.1%}, IQR {self.noise.spread:.1%}"
        return [
            (Text("tiku", "tiku"), f"{self.tiku}, Python {self.python}, {self.system}"),
            (Text("processor", "处理器"), self.cpu),
            (Text("instructions", "指令集"), ", ".join(self.isa) or Text("not shown", "未知")[language]),
            (Text("cores", "核数"), cores[language]),
            (Text("memory", "内存"), f"{_size(self.ram_bytes)}, {_size(self.ram_free_bytes)} {free}"),
            (Text("cache", "缓存"), f"{self.cache}, {_size(self.cache_free_bytes)} {free}"),
            (Text("GPU", "GPU"), ", ".join(self.gpu) or none),
            (Text("energy", "能耗来源"), f"{self.energy_source}: {self.energy_note[language]}"),
            (Text("noise", "计时噪声"), f"{deviation}: {verdict[language]}"),
        ]


_QUIET_ENOUGH = Text("quiet enough to time models", "足够安静，可以计时")
_NOISY = Text("too noisy to time models: stop other work first", "噪声过大，请先停止其他任务再计时")


def doctor() -> Checkup:
    """Look at this machine; about a second."""
    memory, cache = psutil.virtual_memory(), cache_folder()
    source, note = energy_here()
    return Checkup(
        tiku=__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=cpu_name(),
        isa=instruction_sets(),
        cores=allowed_cores(),
        physical_cores=psutil.cpu_count(logical=False) or allowed_cores(),
        ram_bytes=memory.total,
        ram_free_bytes=memory.available,
        cache=str(cache),
        cache_free_bytes=shutil.disk_usage(next(p for p in (cache, *cache.parents) if p.exists())).free,
        gpu=gpus(),
        energy_source=source,
        energy_note=note,
        noise=noise(),
        extras=extras(),
    )


def extras() -> tuple[Extra, ...]:
    """The optional parts that the installed tiku declares; those for its own developers are left out."""
    names = metadata("tiku").get_all("Provides-Extra") or []
    found = []
    for name in sorted(set(names) - set(_FOR_DEVELOPERS)):
        packages = {package: _version(package) for package in _packages_of(name)}
        found.append(Extra(name, packages, _brought_by(name), f"pip install 'tiku[{name}]'"))
    return tuple(found)


def _packages_of(extra: str) -> list[str]:
    lines = [line for line in requires("tiku") or [] if (m := _EXTRA_MARKER.search(line)) and m[1] == extra]
    return [name[0] for line in lines if (name := re.match(r"[\w.-]+", line))]


def _brought_by(extra: str) -> tuple[str, ...]:
    """Methods and runtimes that name this extra."""
    groups = ("methods", "runtimes")
    entries = [(name, registry.get(group, name)) for group in groups for name in registry.names(group)]
    return tuple(sorted({name for name, entry in entries if getattr(entry, "extra", None) == extra}))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _extra_lines(found: tuple[Extra, ...], language: Language) -> list[str]:
    lines = [Text("extras", "可选组件")[language]]
    for extra in found:
        state = ", ".join(f"{name} {has or '-'}" for name, has in extra.packages.items())
        brings = f" → {', '.join(extra.brings)}" if extra.brings else ""
        missing = "" if extra.there else f"  {extra.install}"
        lines.append(f"  {'✓' if extra.there else '✗'} {extra.name}: {state}{brings}{missing}")
    return lines


def _size(count: int) -> str:
    return format_quantity(count, "byte")


def aligned(rows: Sequence[tuple[Text, str]], language: Language) -> list[str]:
    """One line per row, the values under each other."""
    named = [(title[language], value) for title, value in rows]
    width = max(_columns(name) for name, _ in named)
    return [f"{name}{' ' * (width - _columns(name))}  {value}" for name, value in named]


def _columns(text: str) -> int:
    """Terminal columns: a Chinese character takes two."""
    return sum(2 if ord(c) > 0x2E7F else 1 for c in text)
