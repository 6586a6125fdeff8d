"""NVIDIA's total energy counter (NVML), called in the driver's own library: no package is needed."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

from tiku.core.errors import CannotMeasure
from tiku.core.text import Text
from tiku.measure.energy import EnergySource, Joules

__all__ = ["NvmlSource", "gpu_names", "gpu_uuid"]

_LIBRARIES = ("libnvidia-ml.so.1", "nvml.dll")


def gpu_uuid(device: str) -> str:
    """The UUID of torch's device ("cuda", "cuda:1"), which NVML numbers differently."""
    import torch

    index = torch.device(device).index or 0
    return f"GPU-{torch.cuda.get_device_properties(index).uuid}"


def gpu_names() -> tuple[str, ...]:
    """Names of the GPUs the driver shows, without torch. Raises `CannotMeasure` where no driver answers."""
    library = _library()
    _check(library.nvmlInit_v2(), "nvmlInit_v2")
    count = ctypes.c_uint()
    _check(library.nvmlDeviceGetCount_v2(ctypes.byref(count)), "nvmlDeviceGetCount_v2")
    return tuple(_name(library, index) for index in range(count.value))


def _name(library: ctypes.CDLL, index: int) -> str:
    handle, text = ctypes.c_void_p(), ctypes.create_string_buffer(96)
    _check(
        library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)), "nvmlDeviceGetHandleByIndex_v2"
    )
    _check(library.nvmlDeviceGetName(handle, text, len(text)), "nvmlDeviceGetName")
    return text.value.decode(errors="replace")


def _library() -> ctypes.CDLL:
    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise CannotMeasure(
        "the GPU's energy counter cannot be reached",
        got="no NVML library",
        allowed=" or ".join(_LIBRARIES),
        next_step="make the NVIDIA driver's utility library visible (in a container: the utility capability)",
    )


def _check(code: int, call: str) -> None:
    if code:
        raise CannotMeasure(
            "the GPU's energy counter cannot be read",
            got=f"{call} gave NVML error {code}",
            allowed="a GPU of the Volta generation or later, not a MIG slice",
            next_step="ask for no energy metric on this GPU",
        )


class NvmlSource(EnergySource):
    """Joules of one GPU board; whatever else runs on that GPU is counted too.

    `millijoules` reads the counter, which only grows. Idle power (measured) is subtracted.
    """

    name = "NVML"
    how = "counter"

    def __init__(
        self,
        millijoules: Callable[[], int],
        *,
        idle_watts: float = 0.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._millijoules = millijoules
        self._idle_watts = idle_watts
        self._clock = clock

    @classmethod
    def open(cls, device: str, *, idle_watts: float = 0.0) -> NvmlSource:
        """The counter of torch's device. Raises `CannotMeasure` where there is none."""
        library = _library()
        handle = ctypes.c_void_p()
        _check(library.nvmlInit_v2(), "nvmlInit_v2")
        uuid = gpu_uuid(device).encode()
        _check(library.nvmlDeviceGetHandleByUUID(uuid, ctypes.byref(handle)), "nvmlDeviceGetHandleByUUID")

        def millijoules() -> int:
            value = ctypes.c_ulonglong()
            code = library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(value))
            _check(code, "nvmlDeviceGetTotalEnergyConsumption")
            return value.value

        millijoules()
        return cls(millijoules, idle_watts=idle_watts)

    def read(self) -> tuple[float, int]:
        """Seconds and millijoules."""
        return self._clock(), self._millijoules()

    def used(self, before: tuple[float, int], after: tuple[float, int]) -> Joules:
        """Joules between two states."""
        joules = (after[1] - before[1]) * 1e-3 - self._idle_watts * (after[0] - before[0])
        return joules, joules, joules

    def note(self) -> Text:
        """What is counted."""
        return Text(
            f"NVML counter of the GPU board; idle power of {self._idle_watts:.1f} W subtracted",
            f"GPU 的 NVML 计数器；已扣除 {self._idle_watts:.1f} W 的空闲功率",
        )
