"""Layers in few bits come from the disk as they are stored and answer as the artefact in memory does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.runtimes.test_layer_streaming import built, decoder, linux, read_from_disk, streamed
from tests.runtimes.test_packed_weights import quantised
from tiku.artefact import load_subject, open_artefact, verify
from tiku.core.subject import Subject
from tiku.methods.quantize.int4_weight_only import Int4WeightOnly
from tiku.methods.quantize.int8_weight_only import Int8WeightOnly
from tiku.runtimes import _sixteen_bits
from tiku.runtimes._compressed_tensors import quantised_layers
from tiku.runtimes._streaming import blocks_of
from tiku.testing import tiny_context

MADE: Mapping[str, Any] = {
    "8 bits, one scale per output": lambda s, c: Int8WeightOnly(quantize_head=True).apply(s, c),
    "8 bits, symmetric groups": lambda s, c: quantised(s, 8, True),
    "8 bits, zero points": lambda s, c: Int8WeightOnly(group=32, symmetric=False).apply(s, c),
    "4 bits, symmetric groups": lambda s, c: quantised(s, 4, True),
    "4 bits, zero points": lambda s, c: Int4WeightOnly().apply(s, c),
    "8 bits in bfloat16": lambda s, c: Int8WeightOnly(compute="bf16", quantize_head=True).apply(s, c),
    "zero points in bfloat16": lambda s, c: Int8WeightOnly(compute="bf16", symmetric=False).apply(s, c),
}


@pytest.fixture(autouse=True)
def able(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that multiplies in bfloat16: torch does so everywhere, the slow way if it must."""
    monkeypatch.setattr(_sixteen_bits, "_flags", lambda: frozenset({"avx512_bf16"}))


def made(kind: str, folder: Path) -> Subject:
    subject: Subject = MADE[kind](decoder(tied=kind == "8 bits in bfloat16"), tiny_context(folder))
    return subject


@pytest.mark.parametrize("resident", [0, 2])
@pytest.mark.parametrize("kind", MADE)
def test_the_answers_are_those_of_the_artefact_in_memory(kind: str, resident: int, tmp_path: Path) -> None:
    subject = made(kind, tmp_path)
    whole = open_artefact(built(subject, tmp_path / "a"), threads=1)
    parts = open_artefact(streamed(subject, tmp_path / "b", resident), threads=1)
    for seed, shape in enumerate([(2, 9), (1, 1), (3, 12)]):
        ids = np.random.default_rng(seed).integers(0, 20, shape)
        expected = whole.session.run({"input_ids": ids})
        assert np.array_equal(parts.session.run({"input_ids": ids}), expected)
    texts = ["the film was", "a"]
    assert parts.generate(texts, 8) == whole.generate(texts, 8)
    whole.close()
    parts.close()


@pytest.mark.parametrize("kind", ["4 bits, zero points", "8 bits in bfloat16"])
def test_blocks_on_disk_take_no_memory_and_the_resident_ones_keep_theirs(kind: str, tmp_path: Path) -> None:
    opened = open_artefact(streamed(made(kind, tmp_path), tmp_path / "a", 1), threads=1)
    ids = np.arange(12).reshape(2, 6)
    opened.session.run({"input_ids": ids})
    _, blocks = blocks_of(opened.session.module)
    taken = [sum(layer.weight_packed.nbytes for layer in quantised_layers(b).values()) for b in blocks]
    # The middle one stays. The last has its buffer still, and the one before it until the next is read there.
    assert taken[2] and taken[4] == taken[2] and taken[:2] == [0, 0]
    opened.close()


@pytest.mark.parametrize("kind", ["4 bits, zero points", "8 bits in bfloat16"])
def test_the_artefact_opens_without_tiku_and_can_be_taken_back(kind: str, tmp_path: Path) -> None:
    folder = streamed(made(kind, tmp_path), tmp_path / "a")
    report = verify(folder)
    assert report.ok and report.without_tiku, report
    again = load_subject(folder)
    built(again, tmp_path / "b")
    first, second = (p.read_bytes() for p in sorted(tmp_path.glob("*/model/model.safetensors")))
    assert first == second


@linux
def test_codes_are_read_and_nothing_wider(tmp_path: Path) -> None:
    subject = Int8WeightOnly(compute="bf16").apply(decoder(layers=4, hidden=256), tiny_context(tmp_path))
    folder = streamed(subject, tmp_path / "a")
    file = folder / "model" / "model.safetensors"
    opened = open_artefact(folder, threads=1)
    ids = np.arange(8).reshape(1, 8)
    opened.session.run({"input_ids": ids})
    with file.open("rb") as held:
        os.fsync(held.fileno())
        os.posix_fadvise(held.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    before = read_from_disk()
    for _ in range(4):
        opened.session.run({"input_ids": ids})
    read = read_from_disk() - before
    opened.close()
    if not read:
        pytest.skip("a file system without a disk, or the kernel does not count")
    _, blocks = blocks_of(subject.module)
    weights = sum(p.numel() for b in blocks for p in decoder(hidden=256).module.model.layers[0].parameters())
    assert 2 * weights < read < 5 * weights  # a byte each, four passes; the cache may have kept some
    assert subject.module.dtype == torch.bfloat16


@pytest.mark.parametrize(("kind", "one"), [("8 bits in bfloat16", True), ("4 bits, zero points", False)])
def test_few_tokens_compute_with_one_thread_while_the_others_read(
    kind: str, one: bool, tmp_path: Path
) -> None:
    opened = open_artefact(streamed(made(kind, tmp_path), tmp_path / "a"), threads=2)
    module, seen = opened.session.module, list[int]()
    module.model.norm.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    for tokens in (1, 40):
        opened.session.run({"input_ids": np.ones((1, tokens), np.int64)})
        assert torch.get_num_threads() == 2
    assert seen == [1 if one else 2, 2]
    with pytest.raises(IndexError), torch.inference_mode():
        module(input_ids=torch.full((1, 1), 10_000))  # no such token
    assert torch.get_num_threads() == 2
    opened.close()
