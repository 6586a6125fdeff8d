"""What is cut out is gone, and nothing else changed: exact algebra against hand-silenced networks."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import transformers

from tests.methods.prune import subjects
from tiku.core import registry
from tiku.core.errors import DataError
from tiku.core.subject import Numerics
from tiku.methods.prune.prune_depth import PruneDepth
from tiku.methods.prune.prune_width import PruneWidth
from tiku.testing import check_method, tiny_classifier, tiny_context
from tiku.testing.clauses import weights_hash

TEXT = subjects.CORPUS[4]


def _context(tmp_path):
    return subjects.context_of(subjects.CORPUS, tmp_path)


@pytest.fixture(scope="module")
def bert():
    return subjects.classifier(subjects.word_piece(), layers=4)


@pytest.fixture(scope="module", params=["Llama", "Qwen2", "Qwen3"])
def decoder(request):
    return subjects.language_model(subjects.byte_bpe(), request.param, layers=4)


def _layers(subject):
    module = subject.module
    return module.bert.encoder.layer if hasattr(module, "bert") else module.model.layers


def _close(a, b):
    assert torch.allclose(a, b, atol=2e-5 * max(1.0, b.abs().max().item())), (a - b).abs().max()


def test_keeping_every_block_is_the_identity(bert, decoder, tmp_path):
    for subject in (bert, decoder):
        same = PruneDepth(keep=1.0).apply(subject, _context(tmp_path))
        assert weights_hash(same.module) == weights_hash(subject.module)
        assert torch.equal(subjects.logits(same, TEXT), subjects.logits(subject, TEXT))


def _with_idle_block(subject):
    """What block 2 adds to the stream is zero."""
    idle = replace(subject, module=copy.deepcopy(subject.module))
    for name, parameter in _layers(idle)[2].named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")) or "output.dense" in name:
            parameter.data.zero_()
    return idle


def test_idle_block_of_a_decoder_goes_and_is_missed_by_nobody(decoder, tmp_path):
    idle = _with_idle_block(decoder)
    pruned = PruneDepth(keep=0.75).apply(idle, _context(tmp_path))
    assert pruned.facts["prune_depth"]["kept_blocks"] == [0, 1, 3]
    assert pruned.module.config.num_hidden_layers == len(_layers(pruned)) == 3
    _close(subjects.logits(pruned, TEXT), subjects.logits(idle, TEXT))


def test_idle_block_of_an_encoder_goes(bert, tmp_path):
    pruned = PruneDepth(keep=0.75).apply(_with_idle_block(bert), _context(tmp_path))
    assert pruned.facts["prune_depth"]["kept_blocks"] == [0, 1, 3]


def test_influence_is_one_minus_the_cosine_of_input_and_output(decoder, tmp_path):
    subject, text = decoder, subjects.CORPUS[0]
    pruned = PruneDepth(keep=0.5).apply(subject, subjects.context_of([text], tmp_path))
    encoded = subject.processor(text, return_tensors="pt")
    caught = []
    hooks = [b.register_forward_hook(lambda b, a, out: caught.append((a[0], out))) for b in _layers(subject)]
    subject.module(**encoded)
    for hook in hooks:
        hook.remove()
    for found, (before, after) in zip(pruned.facts["prune_depth"]["influence"], caught, strict=True):
        after = after[0] if isinstance(after, tuple) else after
        angles = [1 - (x @ y) / (x.norm() * y.norm()) for x, y in zip(before[0], after[0], strict=True)]
        assert found == pytest.approx(torch.stack(angles).mean().item(), abs=2e-5)


def _zeroed(subject, pruned, names, rows_of):
    """The whole network with the columns of the removed units set to zero, found by matching weights."""
    module = copy.deepcopy(subject.module)
    for old, new in zip(_layers(replace(subject, module=module)), _layers(pruned), strict=True):
        into, out_of = (old.get_submodule(name) for name in names)
        small = new.get_submodule(names[0]).weight
        for start in range(0, into.out_features, rows_of):
            unit = into.weight[start : start + rows_of]
            kept = any(torch.equal(unit, small[s : s + rows_of]) for s in range(0, len(small), rows_of))
            if not kept:
                out_of.weight.data[:, start : start + rows_of] = 0
    return replace(subject, module=module)


@pytest.mark.parametrize("importance", ["taylor", "activation"])
def test_encoder_without_neurons_answers_as_with_their_columns_zeroed(bert, importance, tmp_path):
    pruned = PruneWidth(keep_neurons=0.5, importance=importance).apply(bert, _context(tmp_path))
    assert pruned.module.config.intermediate_size == 32
    assert all(layer.intermediate.dense.weight.shape == (32, 32) for layer in _layers(pruned))
    zeroed = _zeroed(bert, pruned, ("intermediate.dense", "output.dense"), 1)
    assert (_layers(zeroed)[0].output.dense.weight == 0).all(0).sum() == 32
    _close(subjects.logits(pruned, TEXT), subjects.logits(zeroed, TEXT))


@pytest.mark.parametrize("importance", ["taylor", "activation"])
def test_decoder_without_neurons_answers_as_with_their_columns_zeroed(decoder, importance, tmp_path):
    pruned = PruneWidth(keep_neurons=0.75, importance=importance).apply(decoder, _context(tmp_path))
    assert all(layer.mlp.down_proj.weight.shape == (48, 48) for layer in _layers(pruned))
    zeroed = _zeroed(decoder, pruned, ("mlp.gate_proj", "mlp.down_proj"), 1)
    _close(subjects.logits(pruned, TEXT), subjects.logits(zeroed, TEXT))


def test_heads_go_in_whole_groups_and_the_rest_answers_as_with_theirs_zeroed(decoder, tmp_path):
    head_size = _layers(decoder)[0].self_attn.head_dim
    pruned = PruneWidth(keep_neurons=1.0, keep_heads=0.67).apply(decoder, _context(tmp_path))
    config = pruned.module.config
    assert (config.num_attention_heads, config.num_key_value_heads) == (4, 2)
    assert _layers(pruned)[0].self_attn.head_dim == head_size
    zeroed = _zeroed(decoder, pruned, ("self_attn.q_proj", "self_attn.o_proj"), 2 * head_size)
    assert (_layers(zeroed)[0].self_attn.o_proj.weight == 0).all(0).sum() == 2 * head_size
    _close(subjects.logits(pruned, TEXT), subjects.logits(zeroed, TEXT))


def test_silent_head_group_and_silent_neurons_are_the_ones_that_go(tmp_path):
    subject = subjects.language_model(subjects.byte_bpe())
    width = 2 * _layers(subject)[0].self_attn.head_dim
    for layer in _layers(subject):
        layer.self_attn.o_proj.weight.data[:, width : 2 * width] = 0
        layer.mlp.down_proj.weight.data[:, 1::4] = 0
    before = subjects.logits(subject, TEXT)
    for importance in ("taylor", "activation"):
        method = PruneWidth(keep_neurons=0.75, keep_heads=0.67, importance=importance)
        _close(subjects.logits(method.apply(subject, _context(tmp_path)), TEXT), before)


def test_first_order_importance_is_the_slope_of_the_loss_along_the_unit(tmp_path):
    from tiku.methods.prune._calibration import calibration_batches
    from tiku.methods.prune._importance import taylor

    subject = subjects.classifier(subjects.word_piece())
    (batch,) = calibration_batches(subject, _context(tmp_path), tokens=10_000, max_length=64)
    layer = _layers(subject)[1].output.dense
    found = taylor(subject.module, {0: layer}, 64, [batch], lambda *_: None)[0]

    def loss(column, factor):
        module = copy.deepcopy(subject.module).double()
        module.bert.encoder.layer[1].output.dense.weight.data[:, column] *= factor
        with torch.inference_mode():
            return torch.nn.functional.cross_entropy(module(**batch.inputs).logits, batch.targets_B)

    for column in (0, 7, 63):
        slope = (loss(column, 1 + 1e-4) - loss(column, 1 - 1e-4)) / 2e-4
        assert found[column].item() == pytest.approx(abs(slope.item()), rel=2e-3, abs=1e-6)


@pytest.mark.parametrize("method", [PruneDepth(keep=0.5), PruneWidth(keep_neurons=0.5, keep_heads=0.67)])
@pytest.mark.parametrize("tied", [True, False])
def test_saved_decoder_is_smaller_and_loads_with_plain_transformers(method, tied, tmp_path):
    for kind in ("Llama", "Qwen2"):
        subject = subjects.language_model(subjects.byte_bpe(), kind, layers=4, tied=tied)
        small = method.apply(subject, _context(tmp_path))
        registry.get("models", "causal-lm").save(small, tmp_path / kind)
        registry.get("models", "causal-lm").save(subject, tmp_path / f"whole-{kind}")
        plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / kind).eval()
        assert weights_hash(plain) == weights_hash(small.module)
        _close(subjects.logits(replace(small, module=plain), TEXT), subjects.logits(small, TEXT))
        sizes = [(tmp_path / n / "model.safetensors").stat().st_size for n in (kind, f"whole-{kind}")]
        spared = subjects.parameters(subject.module) - subjects.parameters(small.module)
        assert spared > 0 and abs(sizes[1] - sizes[0] - 4 * spared) < 8192  # the headers differ a little
        generated = plain.generate(**small.processor("the river", return_tensors="pt"), max_new_tokens=4)
        assert generated.shape[1] > 4


@pytest.mark.parametrize("kind", ["DistilBert", "Roberta", "Electra"])
def test_other_encoders_lose_blocks_and_neurons_and_load_again(kind, tmp_path):
    tokenizer = subjects.word_piece()
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    sizes = {"dim": 32, "n_layers": 4, "n_heads": 4, "hidden_dim": 64} if kind == "DistilBert" else {
        "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64,
    }  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(tokenizer), max_position_embeddings=80, pad_token_id=tokenizer.pad_token_id, **sizes
    )
    module = getattr(transformers, f"{kind}ForSequenceClassification")(config).eval()
    subject = replace(subjects.classifier(tokenizer), module=module)
    for method in (PruneDepth(keep=0.5), PruneWidth(keep_neurons=0.5)):
        assert method.supports(subject)
        small = method.apply(subject, _context(tmp_path))
        registry.get("models", "text-classification").save(small, tmp_path / kind / method.name)
        plain = type(module).from_pretrained(tmp_path / kind / method.name).eval()
        assert weights_hash(plain) == weights_hash(small.module)
        _close(subjects.logits(replace(small, module=plain), TEXT), subjects.logits(small, TEXT))


def test_networks_that_cannot_be_cut_are_refused_with_the_reason(bert, decoder):
    fused = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=50)
    )
    shared = transformers.AlbertForSequenceClassification(
        transformers.AlbertConfig(
            vocab_size=50, embedding_size=8, hidden_size=16, num_attention_heads=2, intermediate_size=16,
            num_hidden_layers=4,
        )
    )  # fmt: skip
    two_stacks = transformers.T5ForSequenceClassification(
        transformers.T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=16, num_layers=2, num_heads=2)
    )
    half = PruneWidth(keep_heads=0.5)
    for method, subject, reason in (
        (PruneWidth(), replace(decoder, module=fused), "fused"),
        (PruneDepth(), replace(bert, module=shared), "one stack"),
        (PruneDepth(), replace(bert, module=two_stacks), "one stack"),
        (PruneDepth(), replace(bert, module=torch.nn.Linear(2, 2)), "not a transformers module"),
        (PruneWidth(), replace(bert, numerics=Numerics("int8-dynamic")), "int8-dynamic"),
        (PruneDepth(keep=0.95), bert, "all of them"),
        (half, bert, "head size"),
        (half, replace(decoder, module=_one_group()), "none can go"),
    ):
        support = method.supports(subject)
        assert not support and reason in support.reason.en, (method, support)


def _one_group():
    return subjects.language_model(subjects.byte_bpe(), num_key_value_heads=1).module


def test_gpt2_loses_blocks_though_its_linear_layers_are_fused(tmp_path):
    tokenizer = subjects.byte_bpe()
    config = transformers.GPT2Config(
        n_embd=32,
        n_layer=4,
        n_head=2,
        n_positions=64,
        vocab_size=len(tokenizer),
        bos_token_id=1,
        eos_token_id=2,
    )
    subject = replace(subjects.language_model(tokenizer), module=transformers.GPT2LMHeadModel(config).eval())
    small = PruneDepth(keep=0.5).apply(subject, _context(tmp_path))
    kept = small.facts["prune_depth"]["kept_blocks"]
    by_hand = copy.deepcopy(subject.module)
    by_hand.transformer.h = torch.nn.ModuleList([by_hand.transformer.h[i] for i in kept])
    _close(subjects.logits(small, TEXT), subjects.logits(replace(subject, module=by_hand), TEXT))


def test_sliding_windows_stay_with_the_blocks_they_belong_to(tmp_path):
    kinds = ["full_attention", "sliding_attention", "full_attention", "sliding_attention"]
    subject = subjects.language_model(
        subjects.byte_bpe(), "Qwen2", layers=4, layer_types=kinds, use_sliding_window=True, sliding_window=3
    )
    small = PruneDepth(keep=0.5).apply(subject, _context(tmp_path))
    kept = small.facts["prune_depth"]["kept_blocks"]
    assert small.module.config.layer_types == [kinds[i] for i in kept]


@pytest.mark.parametrize("method", [PruneDepth, PruneWidth])
def test_contract_holds_for_a_trained_vocabulary(method, tmp_path):
    subject = subjects.language_model(subjects.byte_bpe(), layers=8)
    check_method(method, subject, _context(tmp_path))


def test_without_texts_it_says_so(bert, tmp_path):
    with pytest.raises(DataError, match="no calibration texts"):
        PruneDepth(keep=0.5).apply(bert, subjects.context_of(subjects.CORPUS, tmp_path, empty=True))


def test_input_is_left_untouched(tmp_path):
    subject, context = tiny_classifier(), tiny_context(tmp_path)
    before = weights_hash(subject.module)
    small = PruneDepth(keep=0.5).apply(subject, context)
    assert weights_hash(subject.module) == before
    assert subject.module.config.num_hidden_layers == 2 and small.module.config.num_hidden_layers == 1
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in subject.module.modules())
