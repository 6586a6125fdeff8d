"""Masked weights stored without their zeros: exact round trips, and where each layout begins to pay."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.weightfiles.test_lossless import same
from tiku.core.errors import ModelError
from tiku.weightfiles._layouts import fits, pack, unpack
from tiku.weightfiles.sparse import LAYOUTS, break_even, read_sparse, smallest, sparsify_file


def masked(rows: int, columns: int, density: float, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    weights = torch.randn(rows, columns, generator=draw)
    return weights.masked_fill(torch.rand(rows, columns, generator=draw) >= density, 0.0)


def two_of_four(rows: int, columns: int) -> torch.Tensor:
    weights = masked(rows, columns, 1.0).reshape(-1, 4)
    weights.scatter_(1, weights.abs().argsort(dim=1)[:, :2], 0.0)
    return weights.reshape(rows, columns)


def blocks(rows: int, columns: int, density: float) -> torch.Tensor:
    kept = masked(-(-rows // 4), -(-columns // 4), density) != 0
    wide = kept.repeat_interleave(4, 0).repeat_interleave(4, 1)[:rows, :columns]
    return masked(rows, columns, 1.0).masked_fill(~wide, 0.0)


def round_trip(tensors: dict[str, torch.Tensor], folder: Path, *layouts: str) -> dict[str, str]:
    save_file(tensors, folder / "plain.safetensors", metadata={"format": "pt"})
    chosen = sparsify_file(folder / "plain.safetensors", folder / "small.safetensors", layouts or LAYOUTS)
    assert same(read_sparse(folder / "small.safetensors"), tensors)
    load_file(folder / "small.safetensors")  # and it is a safetensors file
    return chosen


@pytest.mark.parametrize("layout", ["bitmask", "csr", "block"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int8, torch.float64])
@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (16, 33), (3, 70_000)])
def test_every_layout_gives_the_matrix_back(layout: str, dtype: torch.dtype, shape, tmp_path: Path) -> None:
    for density in (0.0, 0.02, 0.3):
        matrix = (8 * masked(*shape, density)).to(dtype)
        width = matrix.element_size()
        words = matrix.view(torch.uint8).numpy().view(f"<u{width}").reshape(shape)
        assert np.array_equal(unpack(pack(words, layout), layout, *shape), words)
        round_trip({"w": matrix}, tmp_path, layout)


def test_two_of_four_are_stored_in_half_and_half_a_byte_per_four(tmp_path: Path) -> None:
    matrix = two_of_four(24, 64)
    matrix[0, :4] = torch.tensor([0.0, 0.0, 0.0, 1.0])
    matrix[1, :4] = 0.0
    words = matrix.numpy().view("<u4")
    parts = pack(words, "two-four")
    assert sum(part.nbytes for part in parts.values()) == 24 * 64 * 2 + 24 * 64 // 8
    assert np.array_equal(unpack(parts, "two-four", 24, 64), words)
    assert round_trip({"w": matrix}, tmp_path, "two-four") == {"w": "two-four"}


def test_at_two_of_four_the_pattern_is_worth_no_byte_more_than_a_mask() -> None:
    """Four bits per four numbers are a bit per number: what the pattern gives is a kernel, not a file."""
    words = two_of_four(64, 64).numpy().view("<u4")
    sizes = {
        layout: sum(p.nbytes for p in pack(words, layout).values()) for layout in ("bitmask", "two-four")
    }
    assert sizes["bitmask"] == sizes["two-four"]


def test_three_of_four_are_not_taken_for_two_of_four() -> None:
    matrix = two_of_four(4, 8)
    assert fits(matrix.numpy().view("<u4"), "two-four")
    matrix[2, :4] = torch.tensor([1.0, 2.0, 3.0, 0.0])
    assert not fits(matrix.numpy().view("<u4"), "two-four")
    assert not fits(np.zeros((4, 6), np.uint32), "two-four")


def test_minus_zero_nan_and_infinity_are_kept(tmp_path: Path) -> None:
    matrix = torch.zeros(8, 32)
    matrix[0, :4] = torch.tensor([-0.0, float("nan"), float("-inf"), 1e-45])
    for layout in ("bitmask", "csr", "block"):
        assert round_trip({"w": matrix}, tmp_path, layout) == {"w": layout}


def test_each_tensor_takes_the_layout_that_suits_its_mask(tmp_path: Path) -> None:
    tensors = {
        "dense": masked(64, 64, 1.0), "some": masked(64, 64, 0.5, 1), "few": masked(64, 640, 0.01, 2),
        "blocks": blocks(64, 64, 0.3), "pattern": two_of_four(64, 64), "none": torch.empty(0, 3),
        "one": torch.tensor(0.0), "deep": masked(8, 72, 0.4, 3).reshape(8, 8, 3, 3),
    }  # fmt: skip
    chosen = round_trip(tensors, tmp_path)
    assert chosen == {
        "dense": "dense", "some": "bitmask", "few": "csr", "blocks": "block", "pattern": "bitmask",
        "none": "dense", "one": "bitmask", "deep": "bitmask",
    }  # fmt: skip


@pytest.mark.parametrize(("dtype", "width"), [("F32", 4), ("BF16", 2), ("I8", 1), ("F64", 8)])
def test_layouts_begin_to_pay_where_counting_bits_says(dtype: str, width: int) -> None:
    """A mask costs a bit per number (or per block of 16), csr two bytes per kept number and the starts."""
    rows, columns, one = 64, 512, 1 / (64 * 512)
    assert break_even("bitmask", rows, columns, dtype) == pytest.approx(1 - 1 / (8 * width), abs=2 * one)
    starts = 4 * (rows + 1) / (rows * columns)
    assert break_even("csr", rows, columns, dtype) == pytest.approx(
        (width - starts) / (width + 2), abs=2 * one
    )
    assert break_even("block", rows, columns, dtype) == pytest.approx(1 - 1 / (128 * width), abs=32 * one)
    assert break_even("two-four", rows, columns, dtype) == 0.5


def test_wide_matrices_need_longer_column_numbers() -> None:
    at = [break_even("csr", 2, columns, "F32") for columns in (65_536, 65_537)]
    assert at == [pytest.approx(4 / 6, abs=1e-3), pytest.approx(4 / 8, abs=1e-3)]


def test_no_layout_is_chosen_where_it_would_not_save(tmp_path: Path) -> None:
    draw = random.Random(0)
    for _ in range(20):
        matrix = masked(draw.randint(1, 40), draw.randint(1, 40), draw.random(), draw.randint(0, 99))
        words = matrix.numpy().view("<u4")
        layout = smallest(words)
        if layout != "dense":
            assert sum(p.nbytes for p in pack(words, layout).values()) < words.nbytes


def test_a_thousand_flipped_bits_are_all_detected(tmp_path: Path) -> None:
    tensors = {"a": masked(40, 60, 0.5), "b": masked(40, 60, 0.05, 1), "c": two_of_four(8, 16)}
    round_trip(tensors, tmp_path)
    path, draw = tmp_path / "small.safetensors", random.Random(0)
    whole = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for place in draw.sample(range(8 * len(whole)), 1000):
            file.seek(place // 8)
            file.write(bytes([whole[place // 8] ^ 1 << place % 8]))
            with pytest.raises(ModelError):
                read_sparse(path)
            file.seek(place // 8)
            file.write(whole[place // 8 : place // 8 + 1])
    path.write_bytes(whole[:-1])
    with pytest.raises(ModelError):
        read_sparse(path)
