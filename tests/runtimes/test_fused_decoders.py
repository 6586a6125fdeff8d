"""Decoders exported with ONNX Runtime's own operators: what is fused, what is left alone, rows of a batch."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import onnx
import pytest
import torch
import transformers

from tests.measure.language.models import VOCABULARY, gpt2, llama, mistral, sharpened
from tests.runtimes.test_language_models import opened, opt, own_logits, qwen2, subject_of
from tests.runtimes.test_packed_weights import nearest
from tiku.core.errors import CannotMeasure
from tiku.core.subject import Numerics
from tiku.decoding import Request, decode_together, greedy
from tiku.layers.quantized_linear import QuantizedLinear
from tiku.runtimes import _onnx_attention, _onnx_cache
from tiku.runtimes._onnx_attention import _turns_halves, operators_of_onnxruntime
from tiku.runtimes.onnxruntime import RUNTIME

_LAYERS = 2


def kinds(folder) -> Counter:
    return Counter(node.op_type for node in onnx.load(folder / "model.onnx").graph.node)


def requests(count: int, seed: int) -> list[Request]:
    draw = random.Random(seed)
    prompts = [[draw.randrange(VOCABULARY) for _ in range(draw.randint(1, 20))] for _ in range(count)]
    return [Request(tuple(prompt), draw.choice((0, 1, 5, 25))) for prompt in prompts]


def test_a_llama_runs_as_one_operator_for_each_of_its_parts(tmp_path) -> None:
    opened(subject_of(llama(), "onnxruntime"), tmp_path).close()
    found = kinds(tmp_path)
    assert found["GroupQueryAttention"] == _LAYERS
    assert found["RotaryEmbedding"] == 2 * _LAYERS
    assert found["SimplifiedLayerNormalization"] == 2 * _LAYERS + 1
    assert found["MatMul"] == 5 * _LAYERS + 1  # queries, keys and values are one
    assert found["Softmax"] == found["Transpose"] == 0


def test_what_was_fused_or_why_nothing_was_is_reported(tmp_path, monkeypatch) -> None:
    subject = subject_of(llama(), "onnxruntime")
    assert RUNTIME.save(subject, tmp_path / "a")["fused"]["GroupQueryAttention"] == _LAYERS
    sinks = {"s_aux": torch.zeros(4)}
    monkeypatch.setattr(_onnx_attention, "_attend", partial(_onnx_attention._attend, **sinks))
    assert "sinks" in RUNTIME.save(subject, tmp_path / "b")["not_fused"]
    assert kinds(tmp_path / "b")["GroupQueryAttention"] == 0


def test_an_unfused_artefact_is_traced_as_it_is_written(tmp_path) -> None:
    subject = replace(subject_of(llama(), "onnxruntime"), runtime_options={"fusion": False})
    session = opened(subject, tmp_path, {"fusion": False})
    assert kinds(tmp_path)["GroupQueryAttention"] == 0
    with pytest.raises(CannotMeasure, match="different lengths at once"):
        session.rows([4])
    session.close()


def test_a_rotation_of_neighbours_is_not_taken_for_one_of_halves() -> None:
    from transformers.models.cohere import modeling_cohere
    from transformers.models.llama import modeling_llama

    assert _turns_halves(modeling_llama.apply_rotary_pos_emb)
    assert not _turns_halves(modeling_cohere.apply_rotary_pos_emb)
    assert not _turns_halves(None)


def test_a_rotation_of_half_a_head_is_fused(tmp_path) -> None:
    config = transformers.PhiConfig(
        vocab_size=VOCABULARY, hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=48, max_position_embeddings=256, partial_rotary_factor=0.5,
    )  # fmt: skip
    module = sharpened(transformers.PhiForCausalLM, config, 0)
    session = opened(subject_of(module, "onnxruntime"), tmp_path)
    text = np.random.default_rng(0).integers(2, VOCABULARY, size=(2, 9))
    own = own_logits(module, text)
    np.testing.assert_allclose(session.run({"input_ids": text}), own, atol=1e-3 * np.abs(own).max())
    assert kinds(tmp_path)["RotaryEmbedding"] == 4
    session.close()


def test_tracing_leaves_transformers_as_it_was() -> None:
    from transformers.models.llama import modeling_llama

    before, model = modeling_llama.apply_rotary_pos_emb, llama()
    with pytest.raises(RuntimeError, match="on the way"), operators_of_onnxruntime(model):
        assert modeling_llama.apply_rotary_pos_emb is not before
        raise RuntimeError("on the way")
    assert modeling_llama.apply_rotary_pos_emb is before
    assert "tiku_onnxruntime" not in transformers.modeling_utils.ALL_ATTENTION_FUNCTIONS.valid_keys()


@pytest.fixture(scope="module", params=[llama, qwen2, gpt2, opt], ids=lambda make: make.__name__)
def session(request, tmp_path_factory):
    found = opened(subject_of(request.param(), "onnxruntime"), tmp_path_factory.mktemp("rows"))
    yield found
    found.close()


@pytest.mark.parametrize("slots", [1, 3, 8])
def test_requests_get_in_a_batch_what_they_get_alone(session, slots) -> None:
    asked = requests(11, seed=slots)
    found, report = decode_together(session, asked, slots)
    assert found == [greedy(session, one) for one in asked]
    assert report["cache_bytes"] > 0


def test_logits_of_a_row_do_not_depend_on_its_neighbours(session) -> None:
    draw = np.random.default_rng(3)
    texts = [draw.integers(0, VOCABULARY, size=size).tolist() for size in (3, 40, 17, 1)]
    rows = session.rows([64] * 4)
    living = {rows.enter(text)[0]: text for text in texts}
    for step in range(6):
        fed = {row: int(draw.integers(VOCABULARY)) for row in reversed(living)}
        if step == 4:
            fed.popitem()  # a row may rest
        for row, logits_V in zip(fed, rows.step(fed), strict=True):
            living[row].append(fed[row])
            alone = session.run({"input_ids": np.asarray([living[row]])})[0, -1]
            np.testing.assert_allclose(logits_V, alone, atol=2e-3 * np.abs(alone).max())
        if step == 2:
            gone = list(living)[1]
            rows.leave(gone)
            del living[gone]


def test_a_text_longer_than_its_room_moves_to_more(session, monkeypatch) -> None:
    monkeypatch.setattr(_onnx_cache, "_STEP", 8)
    text = np.random.default_rng(0).integers(0, VOCABULARY, size=(2, 60))
    _, cache = session.extend(text[:, :6])
    got = [session.extend(text[:, at : at + 1], cache)[0] for at in range(6, 40)]
    got.append(session.extend(text[:, 40:], cache)[0])
    own = session.run({"input_ids": text})[:, 6:]
    np.testing.assert_allclose(np.concatenate(got, axis=1), own, atol=2e-3 * np.abs(own).max())


def test_rows_are_refused_where_windows_belong_to_the_whole_batch(tmp_path) -> None:
    found = opened(subject_of(mistral(5), "onnxruntime"), tmp_path)
    with pytest.raises(CannotMeasure, match="different lengths at once"):
        found.rows([4])
    found.close()


@pytest.mark.parametrize("make", [gpt2, opt], ids=lambda make: make.__name__)
def test_without_tiku_positions_are_counted_as_the_module_counts_them(make, tmp_path) -> None:
    module = make()
    subject = subject_of(module, "onnxruntime")
    opened(subject, tmp_path).close()
    source = RUNTIME.standalone(task="causal-lm", family="causal-lm", options={}, numerics=subject.numerics)
    alone: dict = {}
    exec(source, alone)
    text = np.random.default_rng(0).integers(2, VOCABULARY, size=(2, 9))
    mask = np.ones_like(text)
    mask[1, :4] = 0
    got = alone["forward"](alone["open_model"](str(tmp_path)), {"input_ids": text, "attention_mask": mask})
    own = own_logits(module, text, mask)
    np.testing.assert_allclose(got[mask == 1], own[mask == 1], atol=1e-3 * np.abs(own).max())


def test_a_graph_that_will_not_be_fused_is_said_beforehand_to_take_equal_rows_only(monkeypatch) -> None:
    subject = subject_of(llama(), "onnxruntime")
    assert RUNTIME.decodes_together(subject)
    for unfused in (
        replace(subject, runtime_options={"fusion": False}),
        replace(subject, numerics=Numerics("int8-static")),
    ):
        assert "not fused" in RUNTIME.decodes_together(unfused).reason.en
    sinks = {"s_aux": torch.zeros(4)}
    monkeypatch.setattr(_onnx_attention, "_attend", partial(_onnx_attention._attend, **sinks))
    assert "sinks" in RUNTIME.decodes_together(subject).reason.en
    assert "tiku_onnxruntime" not in transformers.modeling_utils.ALL_ATTENTION_FUNCTIONS.valid_keys()


def test_joined_few_bit_products_hold_the_codes_of_each(tmp_path) -> None:
    module = llama()
    for layer in module.model.layers:
        for parent in (layer.self_attn, layer.mlp):
            for name, linear in list(parent.named_children()):
                if isinstance(linear, torch.nn.Linear):
                    setattr(parent, name, QuantizedLinear.of(nearest(linear.weight.data, 4, 16, False)))
    session = opened(subject_of(module, "onnxruntime", Numerics("int4-weight-only")), tmp_path)
    assert kinds(tmp_path)["MatMulNBits"] == 5 * _LAYERS
    text = np.random.default_rng(0).integers(0, VOCABULARY, size=(1, 12))
    own = own_logits(module, text)
    assert np.abs(session.run({"input_ids": text}) - own).max() < 0.05 * np.abs(own).max()  # int8 activations
    session.close()
