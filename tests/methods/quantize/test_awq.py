"""AWQ: scales that help, folds that leave the model as it is, and a report when neither is there."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tests.methods.quantize.layers import drawn, hessian_of, output_error
from tests.methods.quantize.models import gpt2, logits, seeded, subject_of, tied_llama
from tiku.core.subject import Subject
from tiku.methods.quantize._awq import search
from tiku.methods.quantize._calibration import shared_inputs
from tiku.methods.quantize._calibration_texts import choose_texts
from tiku.methods.quantize._folding import Fold, find_folds
from tiku.methods.quantize._grid import GridKind, round_to_nearest
from tiku.methods.quantize._targets import find_targets
from tiku.methods.quantize.awq import AWQ
from tiku.testing import tiny_classifier, tiny_context, tiny_language_model

IDS = torch.randint(0, 20, (3, 11), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", [GridKind(4, 128, False), GridKind(3, None, True), GridKind(4, 32, False)])
def test_it_never_errs_more_than_rounding_and_less_where_few_inputs_are_large(kind: GridKind) -> None:
    for seed in range(4):
        weight, x = drawn(seed)
        hessian, mean = hessian_of(x), x.abs().mean(0)
        found = search(weight, hessian, mean, kind)
        nearest = round_to_nearest(weight, kind, hessian.diagonal()).weight()
        errors = [output_error(w, weight, x) for w in (found.codes.weight() / found.scale_I, nearest)]
        assert errors[0] <= errors[1] * (1 + 1e-5)
        assert found.error / found.nearest == pytest.approx(errors[0] / errors[1], rel=1e-2)
        if kind.group != 32:
            assert found.alpha > 0 and errors[0] < 0.96 * errors[1]


def test_inputs_of_one_size_leave_all_scales_at_one() -> None:
    weight, x = drawn(0)
    found = search(weight, hessian_of(x), torch.ones(256), GridKind(4, 32, False))
    assert found.alpha == 0 and torch.equal(found.scale_I, torch.ones(256))
    dead = search(weight, torch.zeros(256, 256), torch.zeros(256), GridKind(4, 32, False))
    assert dead.alpha == 0 and torch.equal(dead.scale_I, torch.ones(256))


def folds_of(subject: Subject, tmp_path: Path) -> dict[str, Fold]:
    texts = choose_texts(subject, tiny_context(tmp_path), tokens=300, window=48)
    return find_folds(subject, shared_inputs(subject, find_targets(subject).layers, texts), texts)


def kinds(folds: dict[str, Fold]) -> set[tuple[str, str]]:
    """(what makes the tensor, what reads it), by the last parts of their names."""
    return {(fold.name.split(".")[-1], name.split(".")[-1]) for name, fold in folds.items()}


def test_a_llama_folds_into_both_norms_the_up_projection_and_unshared_values(tmp_path: Path) -> None:
    always = {
        ("input_layernorm", "q_proj"),
        ("post_attention_layernorm", "gate_proj"),
        ("up_proj", "down_proj"),
    }
    assert kinds(folds_of(subject_of(tied_llama(kv_heads=1)), tmp_path)) == always
    assert kinds(folds_of(subject_of(tied_llama(kv_heads=2)), tmp_path)) == {*always, ("v_proj", "o_proj")}


def test_norms_that_also_feed_a_residual_are_no_place_for_a_scale(tmp_path: Path) -> None:
    found = kinds(folds_of(tiny_classifier(), tmp_path))  # BERT adds the norm's output to the block's
    assert not any("LayerNorm" in producer for producer, _ in found)
    assert ("value", "dense") not in found  # they stand in different modules


def test_activation_functions_between_two_layers_rule_a_fold_out(tmp_path: Path) -> None:
    found = kinds(folds_of(subject_of(gpt2()), tmp_path))
    assert found == {("ln_1", "c_attn"), ("ln_2", "c_fc")}  # GELU stands before c_proj


def opt(activation: str) -> Any:
    config = transformers.OPTConfig(
        vocab_size=24, hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=48, word_embed_proj_dim=32, activation_function=activation, pad_token_id=0,
    )  # fmt: skip
    return seeded(transformers.OPTForCausalLM, config)


def test_a_rectifier_lets_a_scale_through_and_a_sigmoid_unit_does_not(tmp_path: Path) -> None:
    assert ("fc1", "fc2") in kinds(folds_of(subject_of(opt("relu")), tmp_path))
    assert ("fc1", "fc2") not in kinds(folds_of(subject_of(opt("gelu")), tmp_path))


def gemma() -> Any:
    config = transformers.GemmaConfig(
        vocab_size=24, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        head_dim=16, intermediate_size=64, max_position_embeddings=48, pad_token_id=0,
    )  # fmt: skip
    return seeded(transformers.GemmaForCausalLM, config)


def test_norms_that_add_one_to_their_weight_are_folded_so(tmp_path: Path) -> None:
    folds = folds_of(subject_of(gemma()), tmp_path)
    assert {fold.offset for fold in folds.values() if "norm" in fold.name} == {1.0}
    assert len([fold for fold in folds.values() if "norm" in fold.name]) == 4


@pytest.mark.parametrize(
    "make", [tiny_language_model, lambda: subject_of(gpt2()), lambda: subject_of(gemma())]
)
def test_looking_for_folds_leaves_the_model_untouched(make, tmp_path: Path) -> None:
    subject = make()
    before = copy.deepcopy(subject.module.state_dict())
    folds_of(subject, tmp_path)
    assert all(torch.equal(before[key], value) for key, value in subject.module.state_dict().items())


@pytest.mark.parametrize(
    "make", [tiny_language_model, lambda: subject_of(gpt2()), lambda: subject_of(gemma())]
)
def test_at_eight_bits_the_folded_model_answers_as_before(make, tmp_path: Path) -> None:
    """So what was divided here is what was multiplied there, also in layers that were quantised first."""
    subject = make()
    with torch.no_grad():  # a few large inputs, so that there is something to scale
        for name, parameter in subject.module.named_parameters():
            if "norm" in name or "ln_" in name:
                parameter[::7] += 6
    changed = AWQ(bits=8, group=None, symmetric=True).apply(subject, tiny_context(tmp_path))
    told = changed.facts["quantised"]["awq"]
    assert told["inputs_scaled"] > 0 and told["error_relative_to_rounding"] < 1
    before, after = logits(subject.module, IDS), logits(changed.module, IDS)
    assert float((after - before).norm() / before.norm()) < 0.03


def test_the_report_names_what_could_not_be_folded_and_scales_that_are_all_one(tmp_path: Path) -> None:
    told = AWQ().apply(tiny_classifier(), tiny_context(tmp_path)).facts["quantised"]["awq"]
    assert told["inputs_scaled"] == 0 and told["all_scales_are_one"]
    assert "bert.encoder.layer.*.output.dense (2)" in told["rounded_as_no_exact_fold_exists"]
