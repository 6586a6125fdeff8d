"""What `Session.crop` promises: a cache that is cut back goes on as if nothing had been there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from tests.measure.language.models import MAKERS, mistral, session
from tiku.core import registry
from tiku.core.errors import CannotMeasure
from tiku.core.subject import Session
from tiku.decoding import DraftModel, PromptLookup, Request, greedy
from tiku.testing import tiny_language_model

TOKENS = np.random.default_rng(0).integers(0, 61, size=(1, 30))


def _after_a_detour(model: Session, keep: int, detour: int) -> np.ndarray:
    """Logits of the tokens after the first `keep`, fed after as many others were fed and cut away."""
    _, cache = model.extend(TOKENS[:, :keep])
    cache = model.crop(cache, keep)
    _, cache = model.extend(TOKENS[:, -detour:], cache)
    cache = model.crop(cache, keep)
    return model.extend(TOKENS[:, keep:], cache)[0]


@pytest.mark.parametrize("make", [*MAKERS.values(), lambda: mistral(window=6)], ids=[*MAKERS, "mistral"])
@pytest.mark.parametrize(("keep", "detour"), [(1, 1), (4, 9), (20, 3)])
def test_cut_cache_goes_on_as_if_nothing_had_been_there(make, keep: int, detour: int) -> None:
    model = session(make())
    whole = model.run({"input_ids": TOKENS})
    np.testing.assert_allclose(_after_a_detour(model, keep, detour), whole[:, keep:], atol=1e-3)


@pytest.mark.parametrize("make", [MAKERS["llama"], lambda: mistral(window=6)], ids=["llama", "mistral"])
def test_onnx_runtime_cuts_back_and_drafts_leave_its_text_as_it_is(make, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    runtime = registry.get("runtimes", "onnxruntime")
    subject = replace(tiny_language_model(), module=make(), runtime="onnxruntime")
    assert runtime.supports(subject) and runtime.crops
    runtime.save(subject, tmp_path)
    model = runtime.open(tmp_path, task="causal-lm", options={}, threads=1, device="cpu")
    whole = model.run({"input_ids": TOKENS})
    np.testing.assert_allclose(_after_a_detour(model, 20, 3), whole[:, 20:], atol=1e-3)
    request = Request((5, 9, 2, 5, 9), 30)
    plain = greedy(model, request)
    for drafter in (PromptLookup(6, 2, 1), DraftModel(session(MAKERS["llama"](seed=3)), 4)):
        drafted = greedy(model, request, drafter)
        assert drafted.tokens == plain.tokens and drafted.proposed > 0
    assert drafted.accepted < drafted.proposed
    with pytest.raises(ValueError, match="5 tokens cannot be cut to 6"):
        model.crop(model.extend(TOKENS[:, :5])[1], 6)
    model.close()


def test_cache_cannot_be_cut_to_more_than_it_holds() -> None:
    model = session(MAKERS["llama"]())
    _, cache = model.extend(TOKENS[:, :5])
    with pytest.raises(ValueError, match="5 tokens cannot be cut to 6"):
        model.crop(cache, 6)


def test_sliding_window_that_was_not_told_refuses() -> None:
    model = session(mistral(window=6))
    _, cache = model.extend(TOKENS[:, :20])
    with pytest.raises(CannotMeasure, match="cannot be cut back"):
        model.crop(cache, 15)


def test_recurrent_state_is_refused() -> None:
    config = transformers.MambaConfig(vocab_size=61, hidden_size=16, num_hidden_layers=2, state_size=4)
    with torch.random.fork_rng(devices=[]):
        model = session(transformers.MambaForCausalLM(config).eval())
    _, cache = model.extend(TOKENS[:, :5])
    with pytest.raises(CannotMeasure, match="cannot be cut back"):
        model.crop(cache, 5)


class Cacheless(Session):
    runtime = "cacheless"

    def run(self, inputs: object) -> np.ndarray:
        raise NotImplementedError


def test_runtime_without_crop_says_so() -> None:
    with pytest.raises(CannotMeasure, match="cannot cut") as caught:
        Cacheless().crop([], 0)
    assert caught.value.got == "cacheless"
