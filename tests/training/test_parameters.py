from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2ForSequenceClassification

from tiku.training.options import TrainOptions
from tiku.training.parameters import depths, parameter_groups, peak_rate, rate_factor


def bert() -> torch.nn.Module:
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=20, hidden_size=8, num_hidden_layers=3, num_attention_heads=2, intermediate_size=16
        )
    )


def test_bert_is_cut_into_embeddings_layers_and_head() -> None:
    found = depths(bert())
    assert found["bert.embeddings.word_embeddings.weight"] == 0
    assert found["bert.encoder.layer.0.attention.self.query.weight"] == 1
    assert found["bert.encoder.layer.2.output.LayerNorm.bias"] == 3
    assert found["bert.pooler.dense.weight"] == found["classifier.weight"] == 4


def test_a_decoder_is_cut_in_the_same_way() -> None:
    module = GPT2ForSequenceClassification(GPT2Config(vocab_size=20, n_embd=8, n_layer=2, n_head=2))
    found = depths(module)
    assert (found["transformer.wte.weight"], found["transformer.h.1.mlp.c_fc.weight"]) == (0, 2)
    assert found["transformer.ln_f.weight"] == found["score.weight"] == 3


def test_a_module_without_a_stack_has_one_rate() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 2))
    groups = parameter_groups(module, TrainOptions(learning_rate=0.1, layer_decay=0.5))
    assert {group["peak"] for group in groups} == {0.1}


def test_the_rate_falls_by_layer_from_the_top() -> None:
    module = bert()
    groups = parameter_groups(module, TrainOptions(learning_rate=1.0, layer_decay=0.5))
    peak = {id(p): group["peak"] for group in groups for p in group["params"]}
    named = dict(module.named_parameters())
    assert peak[id(named["classifier.weight"])] == 1.0
    assert peak[id(named["bert.encoder.layer.2.output.dense.weight"])] == 0.5
    assert peak[id(named["bert.encoder.layer.0.output.dense.weight"])] == 0.125
    assert peak[id(named["bert.embeddings.word_embeddings.weight"])] == 0.0625


def test_biases_and_norms_are_not_decayed_and_every_parameter_is_in_one_group() -> None:
    module = bert()
    groups = parameter_groups(module, TrainOptions(weight_decay=0.3))
    grouped = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(list(module.parameters())) == len(grouped)
    for name, parameter in module.named_parameters():
        vector = name.endswith("bias") or "LayerNorm" in name
        assert grouped[id(parameter)] == (0.0 if vector else 0.3), name


def test_frozen_parameters_are_left_out() -> None:
    module = bert()
    module.bert.embeddings.requires_grad_(False)
    grouped = {id(p) for group in parameter_groups(module, TrainOptions()) for p in group["params"]}
    assert not grouped & {id(p) for p in module.bert.embeddings.parameters()}


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_the_rate_rises_over_the_warm_up_and_falls_to_zero(decay: str) -> None:
    options = TrainOptions(warmup=0.2, decay=decay)
    factors = [rate_factor(step, 100, options) for step in range(100)]
    assert factors[:20] == sorted(factors[:20]) and factors[20:] == sorted(factors[20:], reverse=True)
    assert factors[9] == pytest.approx(0.475) and max(factors) > 0.97 and factors[-1] < 0.01
    middle = rate_factor(0, 1, TrainOptions(warmup=0.0, decay=decay))  # half way down
    assert middle == pytest.approx(0.5)


def test_a_warm_up_over_the_whole_run_is_allowed(tmp_path: Path) -> None:
    assert rate_factor(9, 10, TrainOptions(warmup=1.0)) == pytest.approx(0.95)


def test_the_rate_not_asked_for_is_that_of_the_electra_sizes() -> None:
    for width, published in ((256, 3e-4), (768, 1e-4)):
        config = BertConfig(vocab_size=5, hidden_size=width, num_hidden_layers=1, num_attention_heads=1)
        with torch.device("meta"):
            assert peak_rate(BertForSequenceClassification(config), None) == pytest.approx(published)
    assert peak_rate(torch.nn.Linear(4, 2), None) == 1e-3
    assert peak_rate(bert(), 0.25) == 0.25
