"""Joules: from the processor's and the GPU's own counters where they can be read, else modelled.

- RAPL through Linux powercap (Intel and AMD; package and DRAM domains), wrap-around handled.
- NVML's total energy counter (NVIDIA, Volta and later), called in the driver's own library.
- Otherwise CPU time times an assumed wattage per busy core. The assumption is an interval; the
  result carries it and says `modelled`. A ratio of two such results does not depend on it.

Idle power is subtracted: the figure is what the work added.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiku.core.errors import CannotMeasure
from tiku.core.measured import How
from tiku.core.text import Text
from tiku.core.verdict import Support

__all__ = [
    "POWERCAP",
    "WATTS_PER_CORE",
    "CpuTimeSource",
    "EnergySource",
    "RaplSource",
    "SumSource",
    "energy_source",
    "measure_idle",
    "rapl_support",
]

POWERCAP = Path("/sys/class/powercap")
# Package power above idle per busy core, in watts: low, taken, high. Server parts at full load draw
# 3-5 W per core (360 W over 96 cores, 270 W over 40), desktop parts 8-12 W, low-power ARM about 2 W.
WATTS_PER_CORE = (2.0, 5.0, 12.0)
_MOST_WATTS = 1_000.0  # no package draws more; bounds how soon a counter can wrap twice

Seconds = Callable[[], float]
Joules = tuple[float, float, float]  # value, low, high: what the assumption allows


class EnergySource(ABC):
    """Reads a state before and after some work, and says how many joules lie between.

    A `Gauge` of `tiku.measure.clock`; `used` gives (joules, low, high).
    """

    name: str
    how: How

    @abstractmethod
    def read(self) -> Any:
        """The state now."""

    @abstractmethod
    def used(self, before: Any, after: Any) -> Joules:
        """Joules between two states, idle power subtracted."""

    @abstractmethod
    def note(self) -> Text:
        """What is counted, and what is assumed."""


@dataclass(frozen=True)
class _RaplDomain:
    energy: Path
    range_uj: int

    def microjoules(self) -> int:
        return int(self.energy.read_text())


def _domains(root: Path) -> list[_RaplDomain]:
    """Package and DRAM domains. Core and uncore lie inside the package; psys overlaps everything."""
    found = []
    for zone in sorted(root.glob("*rapl*:*")):
        name_file, energy, limit = zone / "name", zone / "energy_uj", zone / "max_energy_range_uj"
        if not (name_file.is_file() and energy.exists() and limit.is_file()):
            continue
        name = name_file.read_text().strip()
        if name.startswith("package") or name == "dram":
            found.append(_RaplDomain(energy, int(limit.read_text())))
    return found


def rapl_support(root: Path = POWERCAP) -> Support:
    """Whether the RAPL counters are there and may be read."""
    domains = _domains(root) if root.is_dir() else []
    if not domains:
        return Support.no(
            "the kernel shows no RAPL energy counter (usual in virtual machines)",
            "内核没有提供 RAPL 能耗计数器（虚拟机中常见）",
        )
    try:
        for domain in domains:
            domain.microjoules()
    except OSError:
        return Support.no(
            f"RAPL counters are there but may not be read: sudo chmod a+r {domains[0].energy}",
            f"有 RAPL 计数器，但没有读取权限：sudo chmod a+r {domains[0].energy}",
        )
    return Support.yes()


class RaplSource(EnergySource):
    """The CPU packages' and their memory's counters; `idle_watts` are subtracted.

    Everything that ran meanwhile on the packages is counted. `root` is the powercap folder.
    """

    name = "RAPL"
    how = "counter"

    def __init__(
        self, root: Path = POWERCAP, *, idle_watts: float = 0.0, clock: Seconds = time.perf_counter
    ) -> None:
        self._domains = _domains(root)
        self._idle_watts = idle_watts
        self._clock = clock

    def read(self) -> tuple[float, tuple[int, ...]]:
        """Seconds and microjoules per domain."""
        return self._clock(), tuple(domain.microjoules() for domain in self._domains)

    def used(self, before: tuple[float, tuple[int, ...]], after: tuple[float, tuple[int, ...]]) -> Joules:
        """Joules between two states, each counter's single wrap-around undone.

        Raises `CannotMeasure` when so much time passed that a counter may have wrapped twice.
        """
        seconds, total_uj = after[0] - before[0], 0
        for domain, old, new in zip(self._domains, before[1], after[1], strict=True):
            if seconds * _MOST_WATTS > domain.range_uj * 1e-6:
                raise CannotMeasure(
                    "one piece of work took so long that the energy counter may have wrapped twice",
                    got=f"{seconds:.0f} s", allowed=f"up to {domain.range_uj * 1e-6 / _MOST_WATTS:.0f} s",
                    next_step="measure fewer items per round",
                )  # fmt: skip
            total_uj += new - old if new >= old else new - old + domain.range_uj
        joules = total_uj * 1e-6 - self._idle_watts * seconds
        return joules, joules, joules

    def note(self) -> Text:
        """What is counted."""
        return Text(
            f"RAPL counters of {len(self._domains)} domains (packages, memory); idle power of "
            f"{self._idle_watts:.1f} W subtracted",
            f"RAPL 计数器，共 {len(self._domains)} 个域（处理器封装、内存）；"
            f"已扣除 {self._idle_watts:.1f} W 的空闲功率",
        )


class CpuTimeSource(EnergySource):
    """CPU time of this process, all threads, times `WATTS_PER_CORE`. Idle costs no CPU time."""

    name = "CPU time"
    how = "modelled"

    def __init__(self, clock: Seconds = time.process_time) -> None:
        self._clock = clock

    def read(self) -> float:
        """CPU seconds."""
        return self._clock()

    def used(self, before: float, after: float) -> Joules:
        """Joules and what the assumption allows."""
        low, taken, high = WATTS_PER_CORE
        cpu_s = after - before
        return taken * cpu_s, low * cpu_s, high * cpu_s

    def note(self) -> Text:
        """The assumption."""
        low, taken, high = WATTS_PER_CORE
        return Text(
            f"modelled: CPU time × {taken:g} W per busy core above idle (assumed, between {low:g} and "
            f"{high:g} W); ratios do not depend on the assumption",
            f"由模型估算：CPU 时间 × 每个繁忙核心高于空闲的 {taken:g} W（假设值，介于 {low:g} 与 {high:g} W "
            "之间）；比值与此假设无关",
        )


class SumSource(EnergySource):
    """Several sources that count different parts of the machine."""

    name = "sum"

    def __init__(self, parts: Sequence[EnergySource]) -> None:
        self.parts = tuple(parts)
        self.name = " + ".join(part.name for part in parts)
        modelled = any(part.how == "modelled" for part in parts)
        self.how = "modelled" if modelled else "counter"

    def read(self) -> tuple[Any, ...]:
        """The parts' states."""
        return tuple(part.read() for part in self.parts)

    def used(self, before: tuple[Any, ...], after: tuple[Any, ...]) -> Joules:
        """The parts' joules, added."""
        each = [part.used(a, b) for part, a, b in zip(self.parts, before, after, strict=True)]
        return sum(j[0] for j in each), sum(j[1] for j in each), sum(j[2] for j in each)

    def note(self) -> Text:
        """The parts' notes."""
        notes = [part.note() for part in self.parts]
        return Text("; ".join(n.en for n in notes), "；".join(n.zh for n in notes))


def measure_idle(
    source: EnergySource, seconds: float = 0.5, *, sleep: Callable[[float], None] = time.sleep
) -> float:
    """Watts drawn while this process sleeps."""
    before = source.read()
    sleep(seconds)
    return max(0.0, source.used(before, source.read())[0] / seconds)


def energy_source(
    device: str = "cpu", *, root: Path = POWERCAP, clock: Seconds = time.process_time
) -> EnergySource:
    """The best source here, its idle power measured (half a second each).

    `device` "cuda…" adds the GPU's counter. Raises `CannotMeasure` when the GPU has none: its draw
    cannot be modelled from CPU time. `clock` gives the CPU seconds where there is no counter.
    """
    cpu: EnergySource = CpuTimeSource(clock)
    if rapl_support(root):
        cpu = RaplSource(root, idle_watts=measure_idle(RaplSource(root)))
    if not device.startswith("cuda"):
        return cpu
    from tiku.measure.energy_nvml import NvmlSource

    gpu = NvmlSource.open(device)
    return SumSource((NvmlSource.open(device, idle_watts=measure_idle(gpu)), cpu))
