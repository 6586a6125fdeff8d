"""Numbers to byte planes to coded blocks, and back.

A float is rotated left by one bit first: the sign then stands beside the mantissa and the exponent
fills a byte of its own. Trained weights use few exponents, so that plane shrinks to about a third; mantissas
are nearly uniform and are stored as they are (Hershcovitch et al. 2024, ZipNN).

Only Huffman's code of single bytes is wanted: zlib is told so, and zstd gets matches of seven bytes in a
table of 64 entries, which finds next to none. Each coder keeps its way of packing bits.
"""

from __future__ import annotations

import zlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["BLOCK", "RAW", "ZLIB", "ZSTD", "encode", "expand", "join", "split", "zstd_installed"]

BLOCK = 1 << 18  # numbers per block: a plane of 256 KiB stays in the second-level cache
RAW, ZLIB, ZSTD = 0, 1, 2
_WORTH = 0.985  # of its size: what shrinks less is not worth its decoding
_ROTATED = {"F16": 16, "BF16": 16, "F32": 32, "F64": 64}


def split(octets: NDArray[np.uint8], dtype: str, width: int) -> list[NDArray[np.uint8]]:
    """`width` planes of one byte of each number, the lowest byte first."""
    import numpy as np

    if dtype in _ROTATED:
        words = octets.view(f"<u{width}")
        octets = ((words << 1) | (words >> (_ROTATED[dtype] - 1))).view(np.uint8)
    table = octets.reshape(-1, width)
    return [np.ascontiguousarray(table[:, place]) for place in range(width)]


def join(planes: list[Any], dtype: str, out: NDArray[np.uint8]) -> None:
    """Write the numbers back into `out`."""
    import numpy as np

    width = len(planes)
    table = out.reshape(-1, width)
    for place, plane in enumerate(planes):
        table[:, place] = np.frombuffer(plane, np.uint8)
    if dtype in _ROTATED:
        words = out.view(f"<u{width}")
        low = words << (_ROTATED[dtype] - 1)
        words >>= 1
        words |= low


def encode(plane: NDArray[np.uint8], coder: int) -> tuple[int, bytes]:
    """(coder that was used, coded bytes): `RAW` where coding saves next to nothing."""
    plain = plane.tobytes()
    coded = _zstd(plain) if coder == ZSTD else _zlib(plain)
    return (RAW, plain) if len(coded) > _WORTH * len(plain) else (coder, coded)


def expand(coder: int, coded: bytes, length: int) -> bytes:
    """The plane of `length` bytes. Raises `ValueError` for anything else."""
    if coder == RAW:
        plain = coded
    elif coder == ZLIB:
        plain = _unzlib(coded, length)
    elif coder == ZSTD:
        plain = _unzstd(coded, length)
    else:
        raise ValueError(f"no coder {coder}")
    if len(plain) != length:
        raise ValueError(f"{len(plain)} bytes where {length} were stored")
    return plain


def zstd_installed() -> bool:
    """Whether zstd blocks can be written; reading them needs pyarrow at most."""
    return find_spec("zstandard") is not None


def _zlib(plain: bytes) -> bytes:
    huffman = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_HUFFMAN_ONLY)
    return huffman.compress(plain) + huffman.flush()


def _unzlib(coded: bytes, length: int) -> bytes:
    try:
        return zlib.decompress(coded, bufsize=max(1, length))
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


def _unzstd(coded: bytes, length: int) -> bytes:
    if zstd_installed():
        import zstandard

        try:
            plain: bytes = zstandard.ZstdDecompressor().decompress(coded, max_output_size=length)
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from error
        return plain
    import pyarrow

    try:
        return bytes(pyarrow.decompress(coded, length, codec="zstd", asbytes=True))
    except (OSError, pyarrow.ArrowException) as error:
        raise ValueError(str(error)) from error
