"""What this machine is: processor, memory, GPU, energy source, noise, packages. Imports no torch."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tiku.core.errors import CannotMeasure
from tiku.core.text import Text
from tiku.measure.clock import Schedule, time_pairs, warm_up
from tiku.measure.energy import CpuTimeSource, RaplSource, rapl_support
from tiku.measure.energy_nvml import gpu_names

__all__ = [
    "Noise",
    "allowed_cores",
    "cpu_name",
    "energy_here",
    "environment",
    "gpus",
    "instruction_sets",
    "noise",
]

_CPUINFO = Path("/proc/cpuinfo")
# Those that decide how fast small number formats are multiplied, weakest first; (flag, shown name).
_ISA = (
    ("sse4_2", "SSE4.2"), ("avx", "AVX"), ("f16c", "F16C"), ("fma", "FMA"), ("avx2", "AVX2"),
    ("avx_vnni", "AVX-VNNI"), ("avx512f", "AVX-512F"), ("avx512_vnni", "AVX-512 VNNI"),
    ("avx512_bf16", "AVX-512 BF16"), ("avx512_fp16", "AVX-512 FP16"), ("amx_int8", "AMX INT8"),
    ("amx_bf16", "AMX BF16"), ("asimd", "NEON"), ("asimddp", "dot product"), ("i8mm", "I8MM"),
    ("bf16", "BF16"), ("sve", "SVE"), ("sve2", "SVE2"),
)  # fmt: skip
_PACKAGES = (
    "torch", "transformers", "tokenizers", "safetensors", "numpy", "scipy", "onnxruntime", "openvino",
)  # fmt: skip
_TRIES = 31
_SIDE = 384  # of the matrices: a few milliseconds of arithmetic that fit the cache


@dataclass(frozen=True)
class Noise:
    """The same work against itself: `aa` is the relative deviation of the medians of odd and even
    turns, `spread` the interquartile range over the median. 0.02 is 2 %."""

    aa: float
    spread: float
    turns: int


def noise() -> Noise:
    """Time a matrix product against itself; about 0.3 s."""
    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal((_SIDE, _SIDE), dtype=np.float32) for _ in range(2))

    def work(turn: int = 0) -> None:
        for _ in range(3):
            left @ right

    warm_up(work)
    times = time_pairs(work, None, Schedule(_TRIES, max_aa=float("inf"), control_every=0))
    low, middle, high = np.quantile(times.candidate_s, [0.25, 0.5, 0.75])
    return Noise(times.aa, float((high - low) / middle), _TRIES)


def cpu_name() -> str:
    """The processor as it calls itself."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def instruction_sets() -> tuple[str, ...]:
    """The vector instructions that matter here, by their usual names; () where the system hides them."""
    flags = set((_cpuinfo().get("flags") or _cpuinfo().get("Features") or "").split())
    return tuple(name for flag, name in _ISA if flag in flags)


def allowed_cores() -> int:
    """Logical cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def energy_here() -> tuple[str, Text]:
    """(name of the CPU's energy source, what it counts or assumes). Measures nothing."""
    support = rapl_support()
    if support:
        return RaplSource.name, Text("hardware counters", "硬件计数器")
    assert support.reason is not None  # a refusal has one
    note = CpuTimeSource().note()
    why = support.reason
    return CpuTimeSource.name, Text(f"{note.en}; {why.en}", f"{note.zh}；{why.zh}")


def environment(threads: int | None = None) -> dict[str, Any]:
    """The `environment` of a result (DESIGN section 10). `threads` None: every physical core."""
    measured = noise()
    physical = psutil.cpu_count(logical=False) or allowed_cores()
    return {
        "cpu": cpu_name(),
        "isa": list(instruction_sets()),
        "cores": allowed_cores(),
        "ram_bytes": psutil.virtual_memory().total,
        "gpu": ", ".join(gpus()) or None,
        "threads": threads or max(1, min(allowed_cores(), physical)),
        "noise": {"aa": round(measured.aa, 4), "spread": round(measured.spread, 4)},
        "energy_source": energy_here()[0] + (" + NVML" if gpus() else ""),
        "system": f"{platform.system()} {platform.release()}",
        "packages": {"python": platform.python_version(), **_versions()},
    }


def gpus() -> tuple[str, ...]:
    """Names of the GPUs; none where no driver answers."""
    try:
        return gpu_names()
    except CannotMeasure:
        return ()


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@lru_cache(maxsize=1)
def _cpuinfo() -> dict[str, str]:
    """The first processor's lines of /proc/cpuinfo; {} elsewhere."""
    if not _CPUINFO.exists():
        return {}
    first = _CPUINFO.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
