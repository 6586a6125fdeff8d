"""Numbers to byte planes and back.

The exponent of a float fills a plane of its own: trained weights use few exponents, so that it shrinks to
about a third (Hershcovitch et al. 2024, ZipNN). In bfloat16 and float32 the sign joins the highest bits of
the mantissa, so that the low planes of numbers of few digits are constant; float16 and float64 are rotated
by one bit instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Plane = NDArray[np.uint8] | int  # an int: the byte that fills it

__all__ = ["Joiner", "split"]

_SIGN_BELOW = ("BF16", "F32")
_ROTATED = {"F16": 16, "F64": 64}


def split(octets: NDArray[np.uint8], dtype: str, width: int) -> list[NDArray[np.uint8]]:
    """`width` planes of one byte of each number, the lowest byte first."""
    import numpy as np

    table = octets.reshape(-1, width)
    if dtype in _ROTATED:
        words = octets.view(f"<u{width}")
        table = ((words << 1) | (words >> (_ROTATED[dtype] - 1))).view(np.uint8).reshape(-1, width)
    planes = [np.ascontiguousarray(table[:, place]) for place in range(width)]
    if dtype in _SIGN_BELOW:
        low, high = planes[-2:]
        planes[-2:] = [
            np.bitwise_or(high & 0x80, low & 0x7F, dtype=np.uint8),
            np.bitwise_or(high << 1, low >> 7, dtype=np.uint8),
        ]
    return planes


class Joiner:
    """Puts planes together again; its scratch memory is kept for the next time, so one for each thread.

    Every step runs over a contiguous array that fits into the cache: writing each plane to its strided
    places takes three times as long.
    """

    def __init__(self) -> None:
        self._scratch: dict[tuple[str, int], NDArray[Any]] = {}

    def join(self, planes: list[Plane], dtype: str, out: NDArray[np.uint8]) -> None:
        """Write the numbers into `out`."""
        import numpy as np

        width = len(planes)
        if width == 1:
            np.copyto(out, planes[0])
        elif width == 2:
            self._pair(planes, dtype in _SIGN_BELOW, out.view("<u2"))
        elif width == 4:
            self._four(planes, dtype in _SIGN_BELOW, out.view("<u4"))
        else:
            table = out.reshape(-1, width)
            for place, plane in enumerate(planes):
                table[:, place] = plane
        if dtype in _ROTATED:
            words = out.view(f"<u{width}")
            low = words << (_ROTATED[dtype] - 1)
            words >>= 1
            words |= low

    def _four(self, planes: list[Plane], sign_below: bool, out: NDArray[np.uint32]) -> None:
        import numpy as np

        half = self._array("<u2", len(out), 0)
        self._pair(planes[2:], sign_below, half)
        np.copyto(out, half)
        np.left_shift(out, 16, out=out)
        if all(isinstance(plane, int) and not plane for plane in planes[:2]):
            return
        self._pair(planes[:2], False, half)
        spare = self._array("<u4", len(out), 1)
        np.copyto(spare, half)
        np.bitwise_or(out, spare, out=out)

    def _pair(self, planes: list[Plane], sign_below: bool, out: NDArray[np.uint16]) -> None:
        import numpy as np

        low, high = planes
        np.copyto(out, high)
        np.left_shift(out, 7 if sign_below else 8, out=out)
        if isinstance(low, int) and not low:
            return
        spare = self._array("<u2", len(out), 2)
        np.copyto(spare, low)
        if sign_below:
            np.multiply(spare, 0x101, out=spare)
            np.bitwise_and(spare, 0x807F, out=spare)
        np.bitwise_or(out, spare, out=out)

    def _array(self, kind: str, length: int, slot: int) -> NDArray[Any]:
        import numpy as np

        held = self._scratch.get((kind, slot))
        if held is None or len(held) < length:
            held = self._scratch[kind, slot] = np.empty(length, kind)
        return held[:length]
