"""Static int8: what the exporting runtimes store, from a module's weights and the ranges of its inputs.

O outputs, I inputs. A product is then sum((code - zero) * weight code) * scale * weight scale, in whole
numbers up to the scales (Jacob et al. 2018, section 2.2).
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiku.core.errors import ModelError
from tiku.core.subject import Numerics
from tiku.core.verdict import Support

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "SCHEME",
    "InputGrid",
    "computes_correctly",
    "grids_of",
    "largest_code",
    "products_taken",
    "rest_of",
    "unknown_layer",
    "weight_codes",
]

SCHEME = "int8-static"
_CODES = 255
_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class InputGrid:
    """An input is about (code - zero) * scale, with codes 0 to 255; zero itself is met exactly."""

    scale: float
    zero: int

    @classmethod
    def spanning(cls, low: float, high: float) -> InputGrid:
        """The grid from low to high, widened to hold zero."""
        import numpy as np

        low, high = min(low, 0.0), max(high, 0.0)
        scale = float(np.float32((high - low) / _CODES)) or 1.0  # nothing but zeros was seen
        return cls(scale, round(-low / scale))

    @property
    def ends(self) -> tuple[float, float]:
        """The values of the first and the last code."""
        return -self.zero * self.scale, (_CODES - self.zero) * self.scale


def grids_of(numerics: Numerics) -> dict[str, InputGrid]:
    """The grid of each layer's input, by the layer's name in the module."""
    ranges: Mapping[str, tuple[float, float]] = numerics.options["ranges"]
    return {name: InputGrid.spanning(low, high) for name, (low, high) in ranges.items()}


def largest_code(numerics: Numerics) -> int:
    """Weight codes lie between minus and plus this. 63: two products of a uint8 and a 7-bit number fit
    the 16 bits in which processors without VNNI add them up."""
    return 63 if numerics.options.get("reduce_range", True) else 127


def weight_codes(
    weight_OI: NDArray[np.float32], largest: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Codes (O, I) and one scale per output (O,), symmetric."""
    import numpy as np

    scale_O = (np.abs(weight_OI).max(axis=1) / np.float32(largest)).astype(np.float32)
    scale_O[scale_O == 0] = 1.0
    codes = np.rint(weight_OI / scale_O[:, None]).clip(-largest, largest)
    return codes.astype(np.int8), scale_O


def adds_in_32_bits() -> bool:
    """Whether this processor adds products of 8-bit numbers without saturation: x86 with VNNI or AMX, and
    every other kind. False where an x86 processor hides what it can."""
    if platform.machine().lower() not in ("x86_64", "amd64", "i686"):
        return True
    try:
        text = _CPUINFO.read_text(encoding="utf-8")
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "").split()
    return any("vnni" in flag or flag == "amx_int8" for flag in flags)


def rest_of(numerics: Numerics) -> str:
    """The number format asked for where nothing is multiplied in int8: fp32 or bf16."""
    return str(numerics.options.get("rest", "fp32"))


def computes_correctly(numerics: Numerics) -> Support:
    """No for static weights of 8 bits where products of a uint8 and an int8 saturate: wrong answers."""
    if numerics.scheme != SCHEME or numerics.options.get("reduce_range", True) or adds_in_32_bits():
        return Support.yes()
    return Support.no(
        "this processor adds products of 8-bit numbers in 16 bits, which saturate; the weights need 7 "
        "(reduce_range)",
        "本机处理器用 16 位累加 8 位乘积，会饱和溢出；权重须用 7 位（reduce_range）",
    )


def products_taken(taken: int, asked: int, runtime: str) -> dict[str, Any]:
    """JSON values. Raises `ModelError` where the runtime multiplies nothing in int8."""
    if asked and not taken:
        raise ModelError(
            f"{runtime} took no int8 kernel for this model on this processor",
            got=f"0 of {asked} products",
            allowed="a runtime that multiplies in int8",
            next_step="choose another runtime, or int8-dynamic",
        )
    return {"int8_products": {"taken": taken, "asked": asked}}


def unknown_layer(name: str, runtime: str) -> ModelError:
    """A layer with a range that the exported graph does not multiply by."""
    return ModelError(
        f"a layer of the module is no matrix product in the graph exported to {runtime}",
        got=name,
        allowed="linear layers that are exported as products with their weights",
        next_step="choose another runtime, or int8-dynamic",
    )
