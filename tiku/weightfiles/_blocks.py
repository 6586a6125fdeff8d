"""Byte planes to coded bytes, and back.

Only Huffman's code of single bytes is wanted: exponents repeat by chance alone. zlib is told so; for zstd
the frames are written here where that is possible, and else the encoder gets matches of seven bytes in a
table of 64 entries, which finds next to none. The coder of a plane is the one that gives the fewest bytes.
"""

from __future__ import annotations

import zlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tiku.weightfiles._huffman import frame

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tiku.weightfiles._planes import Plane

__all__ = ["BLOCK", "RAW", "ZLIB", "ZSTD", "Expander", "checksum", "encode", "size_of", "zstd_installed"]

BLOCK = 1 << 18  # numbers per block: a plane of 256 KiB stays in the second-level cache
RAW, ZLIB, ZSTD, CONSTANT = 0, 1, 2, 3
LITERALS, GAPPED = 4, 5  # a byte, then a frame of literals to which it is added; GAPPED: but zeros stay zeros
_SPARE = -1  # a slot that no plane has
_WORTH = 0.985  # of its size: what shrinks less is not worth its decoding
_KEYS: list[NDArray[Any]] = []


def checksum(octets: NDArray[np.uint8]) -> int:
    """Of 64 bits: the words of 8 bytes (the last filled up with zeros) times odd multipliers, summed modulo
    2^64. Any change within one word changes it; of other changes it misses one in 2^64 on average.

    The multiplier of word i is k ^ (k >> 32) | 1 with k = (i + 1) 0x9E3779B97F4A7C15 mod 2^64. A third of
    CRC-32's time.
    """
    import numpy as np

    whole = len(octets) // 8
    keys = _keys(whole + 1)
    rest = int.from_bytes(octets[8 * whole :].tobytes(), "little")
    total = int(np.dot(octets[: 8 * whole].view("<u8"), keys[:whole])) + rest * int(keys[whole])
    return total & (1 << 64) - 1


def _keys(count: int) -> NDArray[Any]:
    import numpy as np

    if not _KEYS or len(_KEYS[-1]) < count:
        made = np.arange(1, max(count, 4 * BLOCK // 8) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        _KEYS[:] = [made ^ made >> 32 | 1]
    return _KEYS[-1]


def encode(plane: NDArray[np.uint8], coder: int) -> tuple[int, bytes]:
    """(coder that was used, coded bytes): `RAW` where coding saves next to nothing."""
    if (plane == plane[0]).all():
        return CONSTANT, plane[:1].tobytes()
    plain = plane.tobytes()
    coded = _zstd(plain) if coder == ZSTD else _zlib(plain)
    if coder == ZSTD:
        literal = _literals(plane)
        coder, coded = min((coder, coded), literal or (coder, coded), key=lambda found: len(found[1]))
    return (RAW, plain) if len(coded) > _WORTH * len(plain) else (coder, coded)


def size_of(coder: int, numbers: int) -> int | None:
    """Bytes of a plane that follow from its coder alone."""
    return {RAW: numbers, CONSTANT: 1}.get(coder)


def _literals(plane: NDArray[np.uint8]) -> tuple[int, bytes] | None:
    """Weights that are zero have the exponent 0, far below all others: to describe a code over that gap
    takes more bytes than to close it."""
    import numpy as np

    least = plane.min()
    coder = LITERALS if least else GAPPED
    if not least:
        least = plane[plane > 0].min() - np.uint8(1)
    coded = frame(np.maximum(plane, least) - least)
    return None if coded is None else (coder, least.tobytes() + coded)


class Expander:
    """Decodes planes; keeps its decoder and its memory for the next one, so one for each thread."""

    def __init__(self) -> None:
        self._planes: dict[int, NDArray[np.uint8]] = {}
        self._decoder: Any = None

    def expand(self, coder: int, coded: NDArray[np.uint8], length: int, slot: int) -> Plane:
        """The plane of `length` bytes, which holds until the next call with this `slot`.

        Raises `ValueError` for anything else.
        """
        import numpy as np

        if coder == CONSTANT and len(coded) == 1:
            return int(coded[0])
        if coder == RAW:
            plane = coded
        elif coder == ZLIB:
            plane = np.frombuffer(_unzlib(coded, length), np.uint8)
        elif coder == ZSTD:
            plane = self._unzstd(coded, length, slot)
        elif coder in (LITERALS, GAPPED):
            plane = self._unzstd(coded[1:], length, slot)
            added = coded[0]
            if coder == GAPPED:
                added = np.minimum(plane, 1, out=self._memory(_SPARE, len(plane)))
                np.multiply(added, coded[0], out=added)
            np.add(plane, added, out=plane)
        else:
            raise ValueError(f"no coder {coder}")
        if len(plane) != length:
            raise ValueError(f"{len(plane)} bytes where {length} were stored")
        return plane

    def _unzstd(self, coded: NDArray[np.uint8], length: int, slot: int) -> NDArray[np.uint8]:
        if not zstd_installed():
            import numpy as np

            return np.array(np.frombuffer(_unzstd_by_pyarrow(coded, length), np.uint8))
        import zstandard

        if self._decoder is None:
            self._decoder = zstandard.ZstdDecompressor()
        plane = self._memory(slot, length)
        try:
            return plane[: self._decoder.stream_reader(coded.data).readinto(plane.data)]
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from error

    def _memory(self, slot: int, length: int) -> NDArray[np.uint8]:
        import numpy as np

        if len(self._planes.get(slot, ())) < length:
            self._planes[slot] = np.empty(length, np.uint8)
        return self._planes[slot][:length]


def zstd_installed() -> bool:
    """Whether zstd blocks can be written; reading them needs pyarrow at most."""
    return find_spec("zstandard") is not None


def _zlib(plain: bytes) -> bytes:
    huffman = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_HUFFMAN_ONLY)
    return huffman.compress(plain) + huffman.flush()


def _unzlib(coded: NDArray[np.uint8], length: int) -> bytes:
    try:
        return zlib.decompress(coded.data, bufsize=max(1, length))
    except zlib.error as error:
        raise ValueError(str(error)) from error


def _zstd(plain: bytes) -> bytes:
    import zstandard

    settings = zstandard.ZstdCompressionParameters(
        window_log=17, hash_log=6, chain_log=6, search_log=1, min_match=7, target_length=0,
        strategy=zstandard.STRATEGY_FAST, write_content_size=True,
    )  # fmt: skip
    coded: bytes = zstandard.ZstdCompressor(compression_params=settings).compress(plain)
    return coded


def _unzstd_by_pyarrow(coded: NDArray[np.uint8], length: int) -> bytes:
    import pyarrow

    try:
        return bytes(pyarrow.decompress(coded.data, length, codec="zstd", asbytes=True))
    except (OSError, pyarrow.ArrowException) as error:
        raise ValueError(str(error)) from error
