"""Keys and values in 8 bits: what is stored, how far it is off, and that text goes on from it."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.measure.language.models import MAKERS, VOCABULARY, llama
from tiku.artefact import open_artefact, write
from tiku.core.recipe import Recipe
from tiku.decoding import Request, decode_together, greedy
from tiku.methods.serving.int8_cache import Int8Cache as Method
from tiku.runtimes._int8_cache import Int8Cache, narrowed, widened
from tiku.runtimes._paged_cache import Int8Slots
from tiku.runtimes._torch_session import TorchSession
from tiku.testing import tiny_context, tiny_language_model, tiny_texts

TOKENS = np.random.default_rng(0).integers(0, VOCABULARY, size=(1, 40))


def _session(module: Any, cache_format: str) -> TorchSession:
    return TorchSession("torch", module, threads=1, device="cpu", cache_format=cache_format)


def test_values_come_back_within_half_a_step_of_their_own_scale() -> None:
    values = torch.randn(5, 3, 16, generator=torch.Generator().manual_seed(0))
    values[2, 1] = 0
    values[3] *= 1e-20
    values[4] *= 1e6
    codes, scale = narrowed(values)
    assert codes.dtype == torch.int8 and codes.abs().max() == 127
    away = (widened(codes, scale, torch.float32) - values).abs()
    assert (away <= 0.5001 * values.abs().amax(-1, keepdim=True) / 127).all()
    assert (widened(codes, scale, torch.float32)[2, 1] == 0).all()


def test_slots_read_back_what_the_cache_of_one_sequence_does() -> None:
    values = torch.randn(6, 2, 8, generator=torch.Generator().manual_seed(1))
    slots = Int8Slots(20, values)
    at = torch.tensor([3, 19, 0, 7, 8, 9])
    slots.write(at, values)
    expected = widened(*narrowed(values), torch.float32)
    assert torch.equal(slots.read(at), expected)
    slots.copy(7, 12, 2)
    assert torch.equal(slots.read(torch.tensor([12, 13])), expected[[3, 4]])
    assert slots.nbytes == 20 * 2 * (8 + 4)


@pytest.mark.parametrize("name", MAKERS)
def test_logits_through_an_8_bit_cache_are_close_and_not_equal(name: str) -> None:
    module = MAKERS[name]()
    wide, _ = _session(module, "fp32").extend(TOKENS)
    session, cache, rows = _session(module, "int8"), None, []
    for at in range(0, 40, 8):
        logits, cache = session.extend(TOKENS[:, at : at + 8], cache)
        rows.append(logits)
    narrow = np.concatenate(rows, axis=1)
    away = np.abs(narrow - wide).max() / np.abs(wide).max()
    assert 1e-6 < away < 0.1
    once, _ = session.extend(TOKENS)  # the same whatever the pieces
    np.testing.assert_allclose(once, narrow, atol=2e-3 * np.abs(wide).max())


def test_cache_holds_codes_and_scales_only_and_can_be_cut_and_copied() -> None:
    session = _session(llama(), "int8")
    _, cache = session.extend(TOKENS[:, :20])
    layers, heads, width = 2, 2, 8
    assert isinstance(cache, Int8Cache) and cache.nbytes == layers * 2 * 20 * heads * (width + 4)
    kept = copy.deepcopy(cache)
    _, longer = session.extend(TOKENS[:, 20:30], cache)
    again, _ = session.extend(TOKENS[:, 20:], session.crop(longer, 20))
    expected, _ = session.extend(TOKENS[:, 20:], kept)
    np.testing.assert_allclose(again, expected, atol=1e-5)


def test_batches_read_the_same_8_bit_cache_as_single_requests() -> None:
    session = _session(llama(), "int8")
    requests = [Request(tuple(TOKENS[0, :size].tolist()), 12) for size in (3, 30, 17, 25)]
    found, report = decode_together(session, requests, 3)
    assert [one.tokens for one in found] == [greedy(session, request).tokens for request in requests]
    heads, width = 2, 8
    assert report["cache_bytes"] == 16 * report["blocks"] * 2 * 2 * heads * (width + 4)


class TestMethod:
    def test_artefact_opens_with_an_8_bit_cache_and_the_error_is_a_fact(self, tmp_path: Path) -> None:
        subject = tiny_language_model()
        method = Method(tokens=40)
        assert method.supports(subject)
        changed = method.apply(subject, tiny_context(tmp_path))
        fact = changed.facts["int8_cache"]
        assert fact["tokens"] == 39 and 0 < fact["kl"] < 0.05
        assert 0.9 < fact["perplexity_ratio"] < 1.1 and 0.8 < fact["same_choice"] <= 1
        heads, width = 1, 16
        assert fact["bytes_per_token"] == 2 * 2 * heads * (width + 4)
        assert fact["bytes_per_token_before"] == 2 * 2 * heads * width * 4
        write(changed, tmp_path / "a", recipe=Recipe(), examples=tiny_texts(4))
        opened = open_artefact(tmp_path / "a", threads=1)
        _, cache = opened.session.extend(np.asarray([[4, 5, 6]]))
        assert isinstance(cache, Int8Cache)
        assert len(opened.complete(["the film was"], 5, past_end=True)[0].tokens) == 5
        opened.close()

    def test_fact_is_what_stepping_through_both_caches_gives(self, tmp_path: Path) -> None:
        subject = tiny_language_model()
        fact = Method(tokens=40).apply(subject, tiny_context(tmp_path)).facts["int8_cache"]
        texts = "\n\n".join(tiny_context(tmp_path).splits[0].calibration.inputs())
        ids = subject.processor(texts)["input_ids"][:40]
        sessions = {kind: _session(subject.module, kind) for kind in ("fp32", "int8")}
        caches: dict[str, Any] = dict.fromkeys(sessions)
        total = 0.0
        for token in ids[:-1]:
            chances = {}
            for kind, session in sessions.items():
                logits, caches[kind] = session.extend(np.asarray([[token]]), caches[kind])
                chances[kind] = torch.softmax(torch.from_numpy(logits[0, -1]).double(), dim=-1)
            total += float(
                torch.nn.functional.kl_div(chances["int8"].log(), chances["fp32"], reduction="sum")
            )
        assert fact["kl"] == pytest.approx(total / 39, rel=1e-3)

    def test_other_runtimes_are_refused(self) -> None:
        support = Method().supports(replace(tiny_language_model(), runtime="onnxruntime"))
        assert not support and "torch runtime only" in support.reason.en
