"""What llama.cpp computes from the files, and how its one context serves many texts."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers

from tests.measure.language.models import sharpened
from tests.runtimes.test_gguf_files import made, quantised, rotary
from tests.runtimes.test_language_models import near, opened, own_logits
from tiku.artefact import open_artefact, verify, write
from tiku.core import registry
from tiku.core.errors import ArtefactError, CannotMeasure
from tiku.core.recipe import Recipe
from tiku.core.subject import Numerics, Subject
from tiku.testing import tiny_language_model, tiny_texts

pytest.importorskip("llama_cpp", reason="llama-cpp-python is built from source")


def subject_of(module, numerics="fp32") -> Subject:
    return replace(tiny_language_model(), module=module, runtime="llama-cpp", numerics=Numerics(numerics))


def tokens(batch, length, seed=0):
    return np.random.default_rng(seed).integers(0, 70, size=(batch, length))


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    module = made("Llama", max_position_embeddings=4096)
    session = opened(subject_of(module), tmp_path_factory.mktemp("llama"))
    yield module, session
    session.close()


@pytest.mark.parametrize(
    "make",
    [
        lambda: made("Llama", attention_bias=True, mlp_bias=True),
        lambda: made("Llama", rope_parameters=rotary("linear")),
        lambda: made(
            "Llama",
            rope_parameters=rotary("llama3")
            | {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16},
        ),
        lambda: made("Mistral", sliding_window=None),
        lambda: made("Qwen3", head_dim=32, tie_word_embeddings=True),
    ],
)
def test_every_architecture_answers_as_its_module(make, tmp_path):
    module = make()
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_()
    session = opened(subject_of(module), tmp_path)
    text = tokens(2, 60)
    near(session.run({"input_ids": text}), own_logits(module, text))
    session.close()


def test_texts_longer_than_a_forward_pass_and_than_the_first_context(llama):
    module, session = llama
    text = tokens(1, 1400)
    own = own_logits(module, text)
    near(session.run({"input_ids": text}), own)
    _, cache = session.extend(text[:, :1390], last_only=True)
    near(session.extend(text[:, 1390:], cache)[0], own[:, 1390:])


def test_caches_survive_the_move_to_a_larger_context(tmp_path):
    module = made("Llama", max_position_embeddings=4096)
    session = opened(subject_of(module), tmp_path)
    texts = [tokens(2, 300, seed) for seed in range(4)]  # the first context holds one of them
    caches = [session.extend(text[:, :290])[1] for text in texts]
    twins = copy.deepcopy(caches)
    for text, cache, twin in zip(texts, caches, twins, strict=True):
        own = own_logits(module, text)[:, 290:]
        near(session.extend(text[:, 290:], twin)[0], own)
        near(session.extend(text[:, 290:], cache)[0], own)
    session.close()


def test_what_nobody_needs_any_more_is_freed(llama):
    _, session = llama
    for seed in range(300):  # more than llama.cpp keeps at once
        session.extend(tokens(1, 3, seed))
    kept = [session.extend(tokens(1, 2))[1] for _ in range(256)]
    with pytest.raises(CannotMeasure, match="no more texts"):
        session.extend(tokens(1, 2))
    del kept
    session.extend(tokens(1, 2))


@pytest.mark.parametrize(("bits", "symmetric"), [(8, True), (4, True), (4, False)])
def test_few_bit_layers_answer_as_their_module_up_to_int8_activations(bits, symmetric, tmp_path):
    config = transformers.LlamaConfig(
        vocab_size=70, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=96, max_position_embeddings=64,
    )  # fmt: skip
    module = quantised(sharpened(transformers.LlamaForCausalLM, config, 0), bits, 32, symmetric)
    subject = subject_of(module, f"int{bits}-weight-only")
    write(subject, tmp_path / "a", recipe=Recipe(), examples=tiny_texts(4))
    artefact = open_artefact(tmp_path / "a")
    text = tokens(2, 40)
    near(artefact.session.run({"input_ids": text}), own_logits(module, text), 0.05)
    artefact.close()
    report = verify(tmp_path / "a")  # a fresh process that has no tiku
    assert report.ok and report.without_tiku, report


@pytest.mark.parametrize("cache_format", ["fp32", "fp16"])
def test_the_artefact_opens_without_tiku(cache_format, tmp_path):
    subject = replace(subject_of(made("Qwen2")), runtime_options={"cache_format": cache_format})
    write(subject, tmp_path / "a", recipe=Recipe(), examples=tiny_texts(4))
    report = verify(tmp_path / "a")
    assert report.ok and report.without_tiku, report


def test_sixteen_bit_weights_answer_nearly_the_same(tmp_path):
    module = made("Llama").to(torch.float16)
    session = opened(subject_of(module, "fp16"), tmp_path)
    text = tokens(1, 30)
    near(session.run({"input_ids": text}), own_logits(module.float(), text), 0.02)
    session.close()


def test_a_damaged_file_is_an_artefact_error(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ArtefactError, match="cannot open"):
        registry.get("runtimes", "llama-cpp").open(
            tmp_path, task="causal-lm", options={}, threads=1, device="cpu"
        )
