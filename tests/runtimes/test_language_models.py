"""Language models in the exporting runtimes, against the torch module: any batch, any split, any numbers."""

from __future__ import annotations

import copy
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
import transformers

from tests.measure.language.models import VOCABULARY, gpt2, llama, mistral, sharpened
from tiku.core import registry
from tiku.core.subject import Numerics, Subject
from tiku.testing import tiny_language_model

_SMALL = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 48, "max_position_embeddings": 256, "head_dim": 8,
}  # fmt: skip


def qwen2():
    config = transformers.Qwen2Config(**_SMALL, tie_word_embeddings=True)
    return sharpened(transformers.Qwen2ForCausalLM, config, 0)


def gemma2():
    """Soft-capped logits, and every second layer sees 6 tokens back."""
    config = transformers.Gemma2Config(**_SMALL, sliding_window=6)
    return sharpened(transformers.Gemma2ForCausalLM, config, 0)


def opt():
    """Positions counted from the attention mask."""
    config = transformers.OPTConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=48,
        max_position_embeddings=256, word_embed_proj_dim=32,
    )  # fmt: skip
    return sharpened(transformers.OPTForCausalLM, config, 0)


LLAMA_CPP = pytest.mark.skipif(find_spec("llama_cpp") is None, reason="llama-cpp-python is built from source")
MAKERS = {
    "llama": llama, "qwen2": qwen2, "gpt2": gpt2, "mistral": lambda: mistral(5), "gemma2": gemma2, "opt": opt,
}  # fmt: skip
EXPORTED = [
    *(("onnxruntime", kind) for kind in MAKERS),
    *(("openvino", kind) for kind in ("qwen2", "gpt2", "gemma2")),  # seconds for each
    *(pytest.param(("llama-cpp", kind), marks=LLAMA_CPP) for kind in ("llama", "qwen2")),
]


def subject_of(module, runtime, numerics=None):
    return replace(tiny_language_model(), module=module, runtime=runtime, numerics=numerics or Numerics())


def opened(subject: Subject, folder, options=None):
    runtime = registry.get("runtimes", subject.runtime)
    support = runtime.supports(subject)
    assert support, support.reason
    runtime.save(subject, folder)
    return runtime.open(folder, task="causal-lm", options=options or {}, threads=1, device="cpu")


def own_logits(module, tokens_BT, mask_BT=None):
    given = {} if mask_BT is None else {"attention_mask": torch.from_numpy(mask_BT)}
    with torch.inference_mode():
        return module(input_ids=torch.from_numpy(tokens_BT), use_cache=False, **given).logits.numpy()


def tokens(batch, length, seed=0):
    return np.random.default_rng(seed).integers(2, VOCABULARY, size=(batch, length))


def in_pieces(session, tokens_BT, ends):
    logits, cache = [], None
    for piece in np.split(tokens_BT, ends, axis=1):
        made, cache = session.extend(piece, cache)
        logits.append(made)
    return np.concatenate(logits, axis=1)


def near(got, own, part=1e-3):
    assert got.dtype == np.float32 and got.shape == own.shape
    assert np.abs(got - own).max() <= part * max(1.0, np.abs(own).max())


@pytest.fixture(scope="module", params=EXPORTED, ids="-".join)
def exported(request, tmp_path_factory):
    runtime, kind = request.param
    module = MAKERS[kind]()
    session = opened(subject_of(module, runtime), tmp_path_factory.mktemp(kind))
    yield module, session
    session.close()


@pytest.mark.parametrize("batch", [1, 3])
def test_any_split_of_a_text_gives_the_logits_of_the_module(exported, batch):
    module, session = exported
    text = tokens(batch, 24, seed=batch)
    own = own_logits(module, text)
    near(session.run({"input_ids": text}), own)
    for ends in ([], [1], [23], [5, 6, 7, 20], list(range(1, 24))):
        near(in_pieces(session, text, ends), own)


def test_last_only_gives_the_last_row(exported):
    module, session = exported
    text = tokens(2, 11)
    first, cache = session.extend(text[:, :7], last_only=True)
    then, _ = session.extend(text[:, 7:], cache, last_only=True)
    own = own_logits(module, text)
    near(first, own[:, 6:7])
    near(then, own[:, 10:])


def test_a_copied_cache_goes_its_own_way(exported):
    module, session = exported
    one, other = tokens(1, 12, seed=1), tokens(1, 12, seed=2)
    other[:, :6] = one[:, :6]
    _, trunk = session.extend(one[:, :6])
    branch = copy.deepcopy(trunk)
    got_one, _ = session.extend(one[:, 6:], trunk)
    got_other, _ = session.extend(other[:, 6:], branch)
    near(got_one, own_logits(module, one)[:, 6:])
    near(got_other, own_logits(module, other)[:, 6:])


@pytest.mark.parametrize("kept", [1, 6])
def test_a_cut_cache_is_that_of_the_shorter_text(exported, kept):
    module, session = exported
    one, other = tokens(2, 12, seed=1), tokens(2, 12, seed=2)
    other[:, :kept] = one[:, :kept]
    _, cache = session.extend(one)
    cache = session.crop(session.crop(cache, 12), kept)
    near(session.extend(other[:, kept:], cache)[0], own_logits(module, other)[:, kept:])
    with pytest.raises(ValueError, match="cannot be cut"):
        session.crop(session.extend(one)[1], 13)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_that_the_mask_hides_changes_nothing_but_itself(exported, side):
    module, session = exported
    text, mask = tokens(3, 10), np.ones((3, 10), dtype=np.int64)
    for row, hidden in enumerate((0, 3, 6)):
        mask[row, slice(0, hidden) if side == "left" else slice(10 - hidden, 10)] = 0
    got = session.run({"input_ids": text, "attention_mask": mask})
    near(got[mask == 1], own_logits(module, text, mask)[mask == 1])


def test_greedy_text_is_the_module_s_own(exported):
    module, session = exported
    prompt = tokens(1, 5)
    with torch.inference_mode():
        own = module.generate(
            torch.from_numpy(prompt), max_new_tokens=20, do_sample=False, eos_token_id=None, pad_token_id=0
        )
    text, fed, cache = prompt, prompt, None
    while text.shape[1] < 25:
        logits, cache = session.extend(fed, cache, last_only=True)
        fed = logits[:, -1].argmax(-1)[:, None]
        text = np.concatenate([text, fed], axis=1)
    assert text.tolist() == own.tolist()
