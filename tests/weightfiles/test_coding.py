"""The frames and checksums of compressed weight files, against reference decoders and known properties."""

from __future__ import annotations

import numpy as np
import pyarrow
import pytest

from tiku.weightfiles._blocks import checksum
from tiku.weightfiles._huffman import frame

DRAW = np.random.default_rng(0)


@pytest.mark.parametrize("numbers", [1024, 1027, 1 << 17, (1 << 17) + 1024, 300_001])
@pytest.mark.parametrize("symbols", [2, 3, 40, 129])
def test_frames_are_read_by_a_zstd_decoder(numbers: int, symbols: int) -> None:
    share = DRAW.dirichlet(np.full(symbols, 0.3))
    plane = DRAW.choice(symbols, numbers, p=share).astype(np.uint8)
    coded = frame(plane)
    assert coded is not None
    assert pyarrow.decompress(coded, numbers, codec="zstd", asbytes=True) == plane.tobytes()


def test_a_part_of_one_symbol_alone_is_read_too() -> None:
    plane = np.concatenate([np.full(1 << 17, 7), DRAW.integers(0, 9, 5000)]).astype(np.uint8)
    coded = frame(plane)
    assert coded is not None
    assert pyarrow.decompress(coded, len(plane), codec="zstd", asbytes=True) == plane.tobytes()


def test_symbols_of_powers_of_two_take_their_entropy() -> None:
    """Shares of 1/2, 1/4, … have codes of exactly 1, 2, … bits: 1.75 bits per symbol for four of them."""
    plane = DRAW.permutation(np.repeat(np.arange(4, dtype=np.uint8), [65536, 32768, 16384, 16384]))
    coded = frame(plane)
    assert coded is not None
    assert 0 <= len(coded) - 1.75 * len(plane) / 8 < 64  # headers, description, the ends of four streams


def test_skewed_counts_keep_within_the_bits_a_decoder_takes() -> None:
    counts = 2 ** np.arange(17)  # an unlimited code would need 16 bits
    plane = DRAW.permutation(np.repeat(np.arange(17, dtype=np.uint8), counts))
    coded = frame(plane)
    assert coded is not None
    assert pyarrow.decompress(coded, len(plane), codec="zstd", asbytes=True) == plane.tobytes()


def test_planes_without_room_for_their_code_are_left_to_others() -> None:
    assert frame(np.array([129] * 2048, np.uint8)) is None
    assert frame(np.zeros(3, np.uint8)) is None


def test_every_flipped_bit_and_every_exchanged_word_changes_the_checksum() -> None:
    octets = DRAW.integers(0, 256, 83, dtype=np.uint8)
    whole = checksum(octets)
    for place in range(8 * len(octets)):
        octets[place // 8] ^= 1 << place % 8
        assert checksum(octets) != whole
        octets[place // 8] ^= 1 << place % 8
    words = np.concatenate([octets[8:16], octets[:8], octets[16:]])
    assert checksum(words) != whole


def test_the_checksum_is_the_one_that_its_description_states() -> None:
    octets = DRAW.integers(0, 256, 21, dtype=np.uint8)
    total = 0
    for i in range(3):
        k = (i + 1) * 0x9E3779B97F4A7C15 % 2**64
        total += int.from_bytes(octets[8 * i : 8 * i + 8].tobytes(), "little") * (k ^ k >> 32 | 1)
    assert checksum(octets) == total % 2**64
