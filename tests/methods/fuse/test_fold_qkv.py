"""Joined layers against the layers they were: same outputs, same cache, fewer products, same files."""

import copy
from dataclasses import replace

import pytest
import torch
import transformers
from torch import nn

from tiku.artefact import open_artefact, write
from tiku.artefact.verifier import verify
from tiku.core.recipe import Recipe
from tiku.layers.quantized_linear import Codes, QuantizedLinear
from tiku.methods.fuse.fold_qkv import FoldQkv
from tiku.runtimes._folding import Together, fold, foldable
from tiku.testing import tiny_classifier, tiny_context, tiny_language_model
from tiku.testing.tiny import tiny_texts

_SMALL = {"vocab_size": 61, "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48}
_DECODER = {**_SMALL, "num_attention_heads": 4, "num_key_value_heads": 2}
_BERT = {**_SMALL, "num_attention_heads": 4}
_T5 = {"vocab_size": 61, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}


def _llama(**more):
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**_DECODER, **more))


# what is built, and how many groups it has by its published architecture
ARCHITECTURES = {
    "llama, grouped queries": (_llama, 4),
    "llama, biases everywhere": (lambda: _llama(attention_bias=True, mlp_bias=True), 4),
    "qwen2": (lambda: transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**_DECODER)), 4),
    "gemma": (
        lambda: transformers.GemmaForCausalLM(
            transformers.GemmaConfig(**_DECODER, head_dim=16, pad_token_id=0)
        ),
        4,
    ),
    "bert": (lambda: transformers.BertForSequenceClassification(transformers.BertConfig(**_BERT)), 2),
    "roberta": (
        lambda: transformers.RobertaForSequenceClassification(
            transformers.RobertaConfig(**_BERT, pad_token_id=0)
        ),
        2,
    ),
    "distilbert": (
        lambda: transformers.DistilBertForSequenceClassification(
            transformers.DistilBertConfig(vocab_size=61, dim=32, n_layers=2, n_heads=4, hidden_dim=48)
        ),
        2,
    ),
}


def _scattered(build):
    """Every parameter random and of a size that matters: fresh biases are zero, which would hide them."""
    torch.manual_seed(3)
    module = build().eval()
    for parameter in module.parameters():
        parameter.data.normal_(0, 0.3)
    return module


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.inference_mode()
def test_logits_are_those_of_the_separate_layers(name):
    build, groups = ARCHITECTURES[name]
    apart = _scattered(build)
    joined = copy.deepcopy(apart)
    assert fold(joined) == groups
    ids = torch.randint(1, 61, (3, 9))
    for batch in (ids, ids[:1, :1], ids):
        torch.testing.assert_close(joined(batch).logits, apart(batch).logits, rtol=1e-5, atol=1e-5)
    assert sum(p.numel() for p in joined.parameters()) == sum(p.numel() for p in apart.parameters())
    assert not any(part.apart for part in joined.modules() if isinstance(part, Together))


@torch.inference_mode()
def test_decoding_with_a_cache_gives_what_one_pass_gives():
    apart = _scattered(_llama)
    joined = copy.deepcopy(apart)
    fold(joined)
    ids = torch.randint(1, 61, (2, 12))
    cache = joined(ids[:, :7], use_cache=True).past_key_values
    steps = [joined(ids[:, t : t + 1], past_key_values=cache, use_cache=True).logits for t in range(7, 12)]
    torch.testing.assert_close(torch.cat(steps, 1), apart(ids).logits[:, 7:], rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_each_group_is_one_product():
    module = _scattered(_llama)
    ids = torch.randint(1, 61, (1, 5))
    with torch.profiler.profile() as before:
        module(ids)
    fold(module)
    with torch.profiler.profile() as after:
        module(ids)
    products = [sum(event.name == "aten::linear" for event in run.events() or ()) for run in (before, after)]
    # per layer 7 products become 4: query+key+value, output, gate+up, down; and the head
    assert products == [2 * 7 + 1, 2 * 4 + 1]


@torch.inference_mode()
def test_layers_that_are_given_different_inputs_are_computed_apart():
    config = transformers.T5Config(**_T5, feed_forward_proj="gated-gelu", decoder_start_token_id=0)
    torch.manual_seed(0)
    apart = transformers.T5ForConditionalGeneration(config).eval()
    joined = copy.deepcopy(apart)
    fold(joined)
    asked = {"input_ids": torch.randint(1, 61, (2, 7)), "decoder_input_ids": torch.randint(1, 61, (2, 5))}
    for _ in range(3):
        torch.testing.assert_close(joined(**asked).logits, apart(**asked).logits, rtol=1e-5, atol=1e-5)
    together = {name: part.apart for name, part in joined.named_modules() if isinstance(part, Together)}
    assert {"EncDecAttention" in name for name, alone in together.items() if alone} == {True}


def test_quantised_layers_are_joined_from_their_codes():
    torch.manual_seed(1)

    def layer(outputs):
        codes = torch.randint(0, 16, (outputs, 64), dtype=torch.uint8)
        zeros = torch.randint(0, 16, (outputs, 2), dtype=torch.uint8)
        return QuantizedLinear.of(Codes(4, 32, codes, torch.rand(outputs, 2), zeros), torch.randn(outputs))

    block = nn.Module()
    block.q_proj, block.k_proj, block.v_proj = layer(32), layer(16), layer(16)
    x = torch.randn(5, 64)
    expected = [part.dequantised()(x) for part in (block.q_proj, block.k_proj, block.v_proj)]
    assert fold(block) == 1
    for part, right in zip((block.q_proj, block.k_proj, block.v_proj), expected, strict=True):
        torch.testing.assert_close(part(x), right, rtol=2e-2, atol=0.3)  # the int4 kernel computes in bf16


def test_layers_of_different_formats_stay_apart():
    block = nn.Module()
    block.q_proj, block.k_proj = nn.Linear(64, 32), nn.Linear(64, 32, bias=False)
    block.v_proj = nn.Linear(64, 32)
    assert foldable(block) == []


@pytest.mark.parametrize("make", [tiny_classifier, tiny_language_model])
def test_the_artefact_is_an_ordinary_one(make, tmp_path):
    subject, context = make(), tiny_context(tmp_path)
    folded = FoldQkv().apply(subject, context)
    write(folded, tmp_path / "a", recipe=Recipe.of(FoldQkv()), examples=tiny_texts(6))
    opened = open_artefact(tmp_path / "a", threads=1)
    assert any(isinstance(part, Together) for part in opened.session.module.modules())
    opened.close()
    stored = type(subject.module).from_pretrained(tmp_path / "a" / "model").state_dict()
    assert all(torch.equal(stored[name], tensor) for name, tensor in subject.module.state_dict().items())


def test_the_artefact_opens_without_tiku(tmp_path):
    folded = FoldQkv().apply(tiny_language_model(), tiny_context(tmp_path))
    write(folded, tmp_path / "a", recipe=Recipe.of(FoldQkv()), examples=tiny_texts(6))
    report = verify(tmp_path / "a")
    assert report.ok and report.without_tiku


def test_other_runtimes_and_unknown_architectures_are_refused_with_the_reason():
    elsewhere = FoldQkv().supports(replace(tiny_classifier(), runtime="onnxruntime"))
    assert not elsewhere and "onnxruntime has a graph of its own" in elsewhere.reason.en
    config = transformers.GPT2Config(vocab_size=61, n_embd=32, n_layer=1, n_head=2)
    gpt2 = replace(tiny_language_model(), module=transformers.GPT2LMHeadModel(config))
    refused = FoldQkv().supports(gpt2)
    assert not refused and "GPT2LMHeadModel" in refused.reason.en
