"""A preallocated cache: the same text, each token written once, room that doubles, cuts and copies."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.measure.language.models import MAKERS, VOCABULARY, llama, mistral
from tiku.artefact import open_artefact, write
from tiku.core.recipe import Recipe
from tiku.core.subject import Subject
from tiku.decoding import Request, decode_together, greedy
from tiku.methods.serving.static_cache import StaticCache as Method
from tiku.runtimes._static_cache import StaticCache
from tiku.runtimes._torch_session import TorchSession
from tiku.testing import tiny_context, tiny_language_model, tiny_texts

TOKENS = np.random.default_rng(0).integers(0, VOCABULARY, size=(1, 40))


def _session(module: Any, room: int | None = None) -> TorchSession:
    kept = {} if room is None else {"cache_format": "static", "cache_tokens": room}
    return TorchSession("torch", module, threads=1, device="cpu", **kept)


def _in_pieces(session: TorchSession, sizes: list[int]) -> tuple[np.ndarray, Any]:
    cache, rows, at = None, [], 0
    for size in sizes:
        logits, cache = session.extend(TOKENS[:, at : at + size], cache)
        rows.append(logits)
        at += size
    return np.concatenate(rows, axis=1), cache


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("room", [1, 17, 64])
def test_logits_are_those_of_a_growing_cache_whatever_the_room(name: str, room: int) -> None:
    module, sizes = MAKERS[name](), [9, 1, 1, 20, 9]
    grown, _ = _in_pieces(_session(module), sizes)
    static, cache = _in_pieces(_session(module, room), sizes)
    np.testing.assert_allclose(static, grown, atol=1e-5)
    assert isinstance(cache, StaticCache) and cache.get_seq_length() == 40


def test_nothing_moves_while_there_is_room_and_room_doubles_when_there_is_not() -> None:
    session = _session(llama(), 16)
    _, cache = session.extend(TOKENS[:, :10])
    layers, heads, width = 2, 2, 8
    assert cache.nbytes == layers * 2 * 16 * heads * width * 4
    place = cache.layers[0].buffers[0].data_ptr()
    _, cache = session.extend(TOKENS[:, 10:16], cache)
    assert cache.layers[0].buffers[0].data_ptr() == place
    _, cache = session.extend(TOKENS[:, 16:33], cache)
    assert cache.nbytes == layers * 2 * 64 * heads * width * 4  # 32 would not hold 33


def test_cut_cache_goes_on_as_if_nothing_had_been_there() -> None:
    session = _session(llama(), 8)
    whole = session.run({"input_ids": TOKENS})
    _, cache = session.extend(TOKENS[:, :20])
    kept = copy.deepcopy(cache)
    _, cache = session.extend(TOKENS[:, 30:], cache)
    for before in (session.crop(cache, 20), kept):
        np.testing.assert_allclose(session.extend(TOKENS[:, 20:], before)[0], whole[:, 20:], atol=1e-4)


def test_greedy_text_of_the_artefact_is_the_same_alone_and_with_others(tmp_path: Path) -> None:
    subject = tiny_language_model()
    changed = Method(tokens=4).apply(subject, tiny_context(tmp_path))
    assert changed.facts["static_cache"]["tokens"] == 4 and "cache_format" not in subject.runtime_options
    texts = []
    for name, one in (("plain", subject), ("static", changed)):
        write(one, tmp_path / name, recipe=Recipe(), examples=tiny_texts(4))
        opened = open_artefact(tmp_path / name, threads=1)
        requests = [Request(tuple(e["input_ids"]), 12) for e in opened.encode(tiny_texts(3))]
        alone = [greedy(opened.session, request).tokens for request in requests]
        together = [made.tokens for made in decode_together(opened.session, requests, 2)[0]]
        assert alone == together
        texts.append(alone)
        opened.close()
    assert texts[0] == texts[1]


def test_sliding_windows_are_refused_with_the_reason() -> None:
    subject = Subject("causal-lm", "causal-lm", mistral(window=6), None)
    support = Method().supports(subject)
    assert not support and "sliding" in support.reason.en
