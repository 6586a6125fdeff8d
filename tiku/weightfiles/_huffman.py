"""Zstandard frames of literals alone (RFC 8878), so that any zstd decoder reads them at its full speed.

A zstd encoder looks for repetitions and finds chance ones: each costs more bits than the exponents that it
replaces, and decoding stops at it. Here a frame is Huffman codes and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["frame"]

_MOST_SYMBOL = 128  # the plain description of a code has room for the lengths of the symbols below it
_LONGEST = 11  # bits of a code that a decoder must take
_LITERALS = 1 << 17  # of a block
_STREAMS = 4
_FEWEST = 1024  # so that no stream is empty and the description is worth its bytes
_MAGIC, _SINGLE_SEGMENT = 0xFD2FB528, 0b1010_0000  # the length of the content follows in 4 bytes
_REPEATED, _COMPRESSED, _WITH_CODE = 1, 2, 2


def frame(plane: NDArray[np.uint8]) -> bytes | None:
    """The frame of `plane`; None where this form has no room for it (symbols above 128, too few bytes)."""
    if plane.max(initial=0) > _MOST_SYMBOL or len(plane) % _LITERALS in range(1, _FEWEST):
        return None
    parts = [_MAGIC.to_bytes(4, "little"), bytes([_SINGLE_SEGMENT]), len(plane).to_bytes(4, "little")]
    for start in range(0, len(plane), _LITERALS):
        last = start + _LITERALS >= len(plane)
        parts.append(_block(plane[start : start + _LITERALS], last))
    return b"".join(parts)


def _block(literals: NDArray[np.uint8], last: bool) -> bytes:
    import numpy as np

    counts = np.bincount(literals, minlength=256)
    symbols = np.flatnonzero(counts)
    if len(symbols) == 1:
        return _head(last, _REPEATED, len(literals)) + literals[:1].tobytes()
    bits = np.zeros(256, np.int64)
    bits[symbols] = _lengths(counts[symbols])
    codes = _codes(bits)
    step = -(-len(literals) // _STREAMS)
    streams = [_stream(literals[at : at + step], codes, bits) for at in range(0, len(literals), step)]
    jumps = b"".join(len(stream).to_bytes(2, "little") for stream in streams[:-1])
    coded = _description(bits) + jumps + b"".join(streams)
    sizes = _WITH_CODE | 3 << 2 | len(literals) << 4 | len(coded) << 22  # 3: four streams, sizes of 18 bits
    content = sizes.to_bytes(5, "little") + coded + b"\0"  # no sequences
    return _head(last, _COMPRESSED, len(content)) + content


def _head(last: bool, kind: int, size: int) -> bytes:
    return (int(last) | kind << 1 | size << 3).to_bytes(3, "little")


def _lengths(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bits of each symbol's code, at most `_LONGEST`, in sum the fewest (package-merge, Larmore and
    Hirschberg 1990)."""
    import numpy as np

    own = np.eye(len(counts), dtype=np.int64)  # which symbols a package holds, and how often
    weight, held = counts, own
    for _ in range(_LONGEST - 1):
        pairs = len(weight) // 2 * 2
        order = np.argsort(weight, kind="stable")[:pairs]
        weight = np.concatenate([counts, weight[order].reshape(-1, 2).sum(1)])
        held = np.concatenate([own, held[order].reshape(pairs // 2, 2, -1).sum(1)])
    taken = np.argsort(weight, kind="stable")[: 2 * len(counts) - 2]
    lengths: NDArray[np.int64] = held[taken].sum(0)
    return lengths


def _codes(bits: NDArray[np.int64]) -> NDArray[np.int64]:
    """The longest codes first, each as many steps of its own length after the one before it."""
    import numpy as np

    used = np.flatnonzero(bits)
    order = used[np.argsort(-bits[used], kind="stable")]
    steps = 1 << (_LONGEST - bits[order])
    codes = np.zeros(256, np.int64)
    codes[order] = (np.cumsum(steps) - steps) >> (_LONGEST - bits[order])
    return codes


def _description(bits: NDArray[np.int64]) -> bytes:
    """The lengths of all symbols before the last one, four bits each; that of the last follows from them."""
    import numpy as np

    last = int(np.flatnonzero(bits)[-1])
    weights = np.where(bits > 0, bits.max() + 1 - bits, 0)[: last + last % 2].astype(np.uint8)
    weights[last:] = 0
    return bytes([127 + last]) + (weights[0::2] << 4 | weights[1::2]).tobytes()


def _stream(literals: NDArray[np.uint8], codes: NDArray[Any], bits: NDArray[Any]) -> bytes:
    """Codes from the last literal to the first, the lowest bits first, and a one behind them."""
    import numpy as np

    backwards = literals[::-1]
    lengths = bits[backwards]
    ends = np.cumsum(lengths)
    starts = ends - lengths
    shifted = codes[backwards] << (starts & 7)
    octets = np.zeros(int(ends[-1]) // 8 + 3)
    for place in range(3):  # codes share no bit: their sum is their union
        part = np.bincount((starts >> 3) + place, shifted >> 8 * place & 255, len(octets))
        octets += part[: len(octets)]
    whole = octets[: int(ends[-1]) // 8 + 1].astype(np.uint8)
    whole[-1] |= 1 << (int(ends[-1]) & 7)
    return whole.tobytes()
