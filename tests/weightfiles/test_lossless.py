"""Entropy-coded weight files give back the same bits, or an error; never another tensor."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tiku.core.errors import ModelError
from tiku.weightfiles import _blocks
from tiku.weightfiles.listing import stored_tensors
from tiku.weightfiles.lossless import LosslessFile, compress_file

CODERS = [
    "zlib",
    pytest.param(
        "zstd",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("zstandard") is None, reason="zstandard is not installed"
        ),
    ),
]

TYPES = [
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16,
    torch.float32, torch.float64, torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16,
    torch.uint32, torch.uint64,
]  # fmt: skip


def octets(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        (one[n].dtype, one[n].shape, octets(one[n])) == (other[n].dtype, other[n].shape, octets(other[n]))
        for n in one
    )


def compressed(tensors: dict[str, torch.Tensor], folder: Path, coder: str = "zlib") -> Path:
    save_file(tensors, folder / "plain.safetensors", metadata={"format": "pt"})
    compress_file(folder / "plain.safetensors", folder / "small.safetensors", coder=coder, threads=2)
    return folder / "small.safetensors"


def weights(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.02


def refused_with_one_bit_flipped(path: Path, whole: bytes, place: int) -> None:
    """In place: to write the whole file anew each time would take minutes."""
    with path.open("r+b", buffering=0) as file:
        for byte in (whole[place // 8] ^ 1 << place % 8, whole[place // 8]):
            file.seek(place // 8)
            file.write(bytes([byte]))
            if byte != whole[place // 8]:
                with pytest.raises(ModelError):
                    LosslessFile(path).read_all()


@pytest.mark.parametrize("coder", CODERS)
def test_every_type_and_every_bit_pattern_comes_back(coder: str, tmp_path: Path) -> None:
    everything = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16)  # all patterns of 16 bits
    draw = torch.Generator().manual_seed(1)
    noise = torch.randint(0, 256, (8 * 4099,), dtype=torch.uint8, generator=draw)
    tensors = {str(kind): noise.clone().view(kind) for kind in TYPES if kind is not torch.bool}
    tensors |= {"flags": noise > 100, "half": everything.view(torch.float16)}
    tensors |= {"brain": everything.clone().view(torch.bfloat16).reshape(256, 256)}
    odd = [float("nan"), float("inf"), -float("inf"), -0.0, 0.0, 1e-45, -1e-45, 3.4e38]
    tensors |= {"odd": torch.tensor(odd), "none": torch.empty(0, 7), "one": torch.tensor(-1.5)}
    path = compressed(tensors, tmp_path, coder)
    assert same(LosslessFile(path, threads=2).read_all(), tensors)
    assert LosslessFile(path).metadata == {"format": "pt"}


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("numbers", [_blocks.BLOCK - 1, _blocks.BLOCK, 2 * _blocks.BLOCK + 5])
def test_tensors_longer_than_a_block_come_back_one_by_one(numbers: int, coder: str, tmp_path: Path) -> None:
    tensors = {"a": weights(numbers), "b": weights(numbers, seed=1).bfloat16(), "c": torch.zeros(numbers)}
    file = LosslessFile(compressed(tensors, tmp_path, coder), threads=2)
    assert same({name: file.read(name) for name in ("c", "a", "b")}, tensors)
    with pytest.raises(KeyError):
        file.read("d")


@pytest.mark.parametrize("coder", CODERS)
def test_normal_weights_shrink_to_the_entropy_of_their_exponents(coder: str, tmp_path: Path) -> None:
    """Exponents of normal numbers have 2.55 bits of entropy, sign and mantissa next to 8 (bf16) or 24."""
    drawn = weights(1_000_000)
    exponents = torch.frexp(drawn).exponent
    share = torch.unique(exponents, return_counts=True)[1].double() / drawn.numel()
    entropy = float(-(share * share.log2()).sum())
    for tensor, rest in ((drawn, 24), (drawn.bfloat16(), 8)):
        path = compressed({"w": tensor}, tmp_path, coder)
        bits = 8 * path.stat().st_size / tensor.numel()
        assert rest + entropy <= bits + 0.01 < rest + entropy + 0.12


def test_a_compressed_file_is_a_safetensors_file(tmp_path: Path) -> None:
    path = compressed({"w": weights(100, 100)}, tmp_path)
    assert {name: t.dtype for name, t in load_file(path).items()} == {"w": torch.uint8}
    assert stored_tensors(path) == {"w": ("F32", (100, 100))}
    assert stored_tensors(tmp_path / "plain.safetensors") == {"w": ("F32", (100, 100))}


@pytest.mark.parametrize("coder", CODERS)
def test_a_thousand_flipped_bits_are_all_detected(coder: str, tmp_path: Path) -> None:
    tensors = {"w": weights(40, 60), "é": torch.arange(50), "h": weights(999).bfloat16(), "e": torch.empty(0)}
    path = compressed(tensors, tmp_path, coder)
    whole, draw = path.read_bytes(), random.Random(0)
    places = draw.sample(range(8 * len(whole)), 1000)
    for place in places:
        refused_with_one_bit_flipped(path, whole, place)
    assert same(LosslessFile(path).read_all(), tensors)


def test_flipped_bits_in_every_byte_of_the_header_are_detected(tmp_path: Path) -> None:
    path = compressed({"w": weights(7, 3), "z": torch.zeros(4)}, tmp_path)
    whole = path.read_bytes()
    for place in range(0, 8 * (8 + int.from_bytes(whole[:8], "little")), 3):  # of each byte some bits
        refused_with_one_bit_flipped(path, whole, place)


def test_a_file_cut_or_lengthened_anywhere_is_detected(tmp_path: Path) -> None:
    path = compressed({"w": weights(30, 30)}, tmp_path)
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 37), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError):
            LosslessFile(path).read_all()
    path.write_bytes(whole + b"\0")
    with pytest.raises(ModelError):
        LosslessFile(path)


def test_damage_in_one_tensor_leaves_the_others_readable(tmp_path: Path) -> None:
    tensors = {"a": weights(500), "b": weights(500, seed=1)}
    path = compressed(tensors, tmp_path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    file = LosslessFile(path)
    read = {name: None for name in tensors}
    for name in tensors:
        try:
            read[name] = file.read(name)
        except ModelError:
            continue
    (kept,) = [name for name, value in read.items() if value is not None]
    assert octets(read[kept]) == octets(tensors[kept])


def test_blocks_of_zstd_are_read_by_pyarrow_where_zstandard_is_missing(monkeypatch, tmp_path: Path) -> None:
    pytest.importorskip("zstandard")
    tensors = {"w": weights(5000)}
    path = compressed(tensors, tmp_path, "zstd")
    monkeypatch.setattr(_blocks, "zstd_installed", lambda: False)
    assert same(LosslessFile(path).read_all(), tensors)


def test_a_plain_file_is_not_taken_for_a_compressed_one(tmp_path: Path) -> None:
    save_file({"w": weights(4)}, tmp_path / "plain.safetensors")
    with pytest.raises(ModelError, match="damaged"):
        LosslessFile(tmp_path / "plain.safetensors")
