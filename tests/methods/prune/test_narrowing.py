"""Channels of the stream go and nothing else changes: networks whose channels can be spared, by hand."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import transformers

from tests.methods.prune import subjects
from tiku.core import registry
from tiku.methods.prune.prune_width import PruneWidth
from tiku.testing import check_method
from tiku.testing.clauses import weights_hash

TEXT = subjects.CORPUS[4]
NARROW = PruneWidth(keep_neurons=1.0, keep_width=0.75)
IMPORTANCES = ("activation", "taylor")


def _context(tmp_path):
    return subjects.context_of(subjects.CORPUS, tmp_path)


def _close(a, b):
    assert torch.allclose(a, b, atol=2e-5 * max(1.0, b.abs().max().item())), (a - b).abs().max()


def _kept(whole, small):
    """Which columns of the embedding table stayed, by comparing them one by one."""
    return [next(k for k in range(whole.shape[1]) if torch.equal(whole[:, k], column)) for column in small.T]


def _written_nowhere(subject, gone):
    """A decoder in which nothing writes into these channels of the stream."""
    module = copy.deepcopy(subject.module)
    module.model.embed_tokens.weight.data[:, gone] = 0
    for layer in module.model.layers:
        for writer in (layer.self_attn.o_proj, layer.mlp.down_proj):
            writer.weight.data[gone] = 0
            if writer.bias is not None:
                writer.bias.data[gone] = 0
    return replace(subject, module=module)


@pytest.mark.parametrize("importance", IMPORTANCES)
@pytest.mark.parametrize(("kind", "tied"), [("Llama", True), ("Llama", False), ("Qwen2", True)])
def test_a_decoder_answers_as_the_whole_one_with_these_channels_silent(kind, tied, importance, tmp_path):
    subject = subjects.language_model(subjects.byte_bpe(), kind, layers=3, tied=tied)
    small = replace(NARROW, importance=importance).apply(subject, _context(tmp_path))
    assert small.module.config.hidden_size == 36
    kept = _kept(subject.module.model.embed_tokens.weight, small.module.model.embed_tokens.weight)
    assert len(kept) == 36 and kept == sorted(set(kept))
    silent = _written_nowhere(subject, sorted(set(range(48)) - set(kept)))
    _close(subjects.logits(small, TEXT), subjects.logits(silent, TEXT))


def test_an_epsilon_as_large_as_the_stream_itself_is_corrected_too(tmp_path):
    subject = subjects.language_model(subjects.byte_bpe(), rms_norm_eps=0.1)
    small = NARROW.apply(subject, _context(tmp_path))
    kept = _kept(subject.module.model.embed_tokens.weight, small.module.model.embed_tokens.weight)
    silent = _written_nowhere(subject, sorted(set(range(48)) - set(kept)))
    _close(subjects.logits(small, TEXT), subjects.logits(silent, TEXT))


@pytest.mark.parametrize("importance", IMPORTANCES)
def test_channels_that_nobody_writes_are_the_ones_that_go(importance, tmp_path):
    gone = [1, 5, 6, 17, 20, 22, 30, 31, 32, 40, 41, 47]
    silent = _written_nowhere(subjects.language_model(subjects.byte_bpe()), gone)
    small = replace(NARROW, importance=importance).apply(silent, _context(tmp_path))
    _close(subjects.logits(small, TEXT), subjects.logits(silent, TEXT))


def _twinned(kind, tokenizer):
    """An encoder whose odd channels repeat the even ones and are read by nobody, with half of its heads
    and of its pooled numbers unread: LayerNorm over the even ones alone is then the same."""
    subject = _encoder(kind, tokenizer)
    sizes = {name: tuple(p.shape) for name, p in subject.module.named_parameters()}
    for name, p in subject.module.named_parameters():
        heads = any(part in name for part in ("query", "key", "value", "q_lin", "k_lin", "v_lin"))
        pooled = any(part in name for part in ("pooler", "pre_classifier", "classifier.dense"))
        if not heads and not pooled and (sizes[name][0] == 32 or "embeddings" in name):
            p.data[..., 1::2] = (
                p.data[..., 0::2] if "embeddings" in name or p.ndim == 1 else p.data[..., 1::2]
            )
            if p.ndim == 2 and "embeddings" not in name:
                p.data[1::2] = p.data[0::2]
        if p.ndim == 2 and sizes[name][1] == 32 and "embeddings" not in name:
            inner = any(part in name for part in ("attention.output.dense", "out_lin"))
            last = not pooled and name.startswith("classifier")
            p.data[:, slice(8, 24) if inner else slice(0, 16) if last else slice(1, None, 2)] = 0
    return subject


def _encoder(kind, tokenizer):
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    sizes = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64} if kind == "DistilBert" else {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
        "embedding_size": 32,
    }  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(tokenizer), max_position_embeddings=80, pad_token_id=tokenizer.pad_token_id, **sizes
    )
    module = subjects._drawn(getattr(transformers, f"{kind}ForSequenceClassification"), config, 0)
    return replace(subjects.classifier(tokenizer), module=module)


@pytest.mark.parametrize("importance", IMPORTANCES)
@pytest.mark.parametrize("kind", ["Bert", "DistilBert", "Roberta", "Electra"])
def test_an_encoder_whose_channels_are_twins_loses_one_of_each_and_answers_the_same(
    kind, importance, tmp_path
):
    subject = _twinned(kind, subjects.word_piece())
    method = PruneWidth(keep_neurons=1.0, keep_width=0.5, importance=importance)
    small = method.apply(subject, _context(tmp_path))
    config = small.module.config
    assert (config.hidden_size, config.num_attention_heads) == (16, 2)
    _close(subjects.logits(small, TEXT), subjects.logits(subject, TEXT))


@pytest.mark.parametrize("kind", ["Bert", "DistilBert", "Roberta", "Electra"])
def test_a_saved_encoder_is_narrower_and_loads_with_plain_transformers(kind, tmp_path):
    subject = _encoder(kind, subjects.word_piece())
    small = NARROW.apply(subject, _context(tmp_path))
    assert small.facts["prune_width"]["layer_norms_over_fewer_channels"] == 5
    registry.get("models", "text-classification").save(small, tmp_path / kind)
    plain = type(subject.module).from_pretrained(tmp_path / kind).eval()
    assert weights_hash(plain) == weights_hash(small.module)
    _close(subjects.logits(replace(small, module=plain), TEXT), subjects.logits(small, TEXT))


@pytest.mark.parametrize("kind", ["Llama", "Qwen3"])
def test_a_decoder_cut_in_every_direction_loads_and_writes_with_plain_transformers(kind, tmp_path):
    subject = subjects.language_model(subjects.byte_bpe(), kind, layers=2)
    method = PruneWidth(keep_neurons=0.75, keep_heads=0.67, keep_width=0.67)
    small = method.apply(subject, _context(tmp_path))
    config = small.module.config
    assert (config.hidden_size, config.intermediate_size, config.num_attention_heads) == (32, 48, 4)
    registry.get("models", "causal-lm").save(small, tmp_path / kind)
    plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / kind).eval()
    assert weights_hash(plain) == weights_hash(small.module)
    written = plain.generate(**small.processor("the river", return_tensors="pt"), max_new_tokens=4)
    assert written.shape[1] > 4


def test_contract_holds_for_channels(tmp_path):
    class Narrow(PruneWidth):
        def __init__(self):
            super().__init__(keep_neurons=1.0, keep_width=0.75)

    Narrow.__module__ = PruneWidth.__module__
    check_method(Narrow, subjects.language_model(subjects.byte_bpe()), _context(tmp_path))


def test_what_cannot_be_narrowed_is_refused_with_the_reason():
    tokenizer = subjects.byte_bpe()
    gemma = subjects.language_model(tokenizer, "Gemma", head_dim=8)
    fused = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=50)
    )
    bert = subjects.classifier(subjects.word_piece())
    for method, subject, reason in (
        (NARROW, gemma, "RMSNorm"),
        (NARROW, replace(gemma, module=fused), "fused"),
        (replace(NARROW, keep_width=0.97), bert, "no width near"),
    ):
        support = method.supports(subject)
        assert not support and reason in support.reason.en
