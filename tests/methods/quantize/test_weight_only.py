"""int8 and int4 weights of whole models: what is replaced, how close the answers stay, what is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.methods.quantize.models import gpt2, logits, seeded, subject_of, tied_llama
from tiku.artefact import open_artefact, verify, write
from tiku.core.recipe import Recipe
from tiku.core.subject import Numerics, Subject
from tiku.layers.quantized_linear import QuantizedLinear
from tiku.methods.quantize.int4_weight_only import Int4WeightOnly
from tiku.methods.quantize.int8_weight_only import Int8WeightOnly
from tiku.testing import tiny_classifier, tiny_context, tiny_language_model, tiny_texts

IDS = torch.randint(0, 20, (3, 11), generator=torch.Generator().manual_seed(0))


def away(subject: Subject, changed: Subject) -> float:
    """Distance of the logits, relative to their spread."""
    before, after = logits(subject.module, IDS), logits(changed.module, IDS)
    return float((after - before).norm() / (before - before.mean(-1, keepdim=True)).norm())


def test_int8_answers_nearly_as_float32_and_fewer_bits_ever_less(tmp_path: Path) -> None:
    for seed in range(3):
        subject, context = tiny_language_model(seed), tiny_context(tmp_path)
        distances = [
            away(subject, method.apply(subject, context))
            for method in (Int8WeightOnly(), Int4WeightOnly(), Int4WeightOnly(bits=3), Int4WeightOnly(bits=2))
        ]
        assert distances == sorted(distances)
        assert distances[0] < 0.02 and distances[2] > 1.5 * distances[1]


def test_transposed_layers_are_stored_and_read_back_with_tiku_and_without(tmp_path: Path) -> None:
    subject = subject_of(gpt2())
    changed = Int8WeightOnly().apply(subject, tiny_context(tmp_path))
    assert sum(isinstance(m, QuantizedLinear) for m in changed.module.modules()) == 8
    assert away(subject, changed) < 0.02
    write(changed, tmp_path / "a", recipe=Recipe(), examples=tiny_texts(4))
    opened = open_artefact(tmp_path / "a")
    mine = torch.from_numpy(opened.session.run({"input_ids": IDS.numpy()}))
    opened.close()
    torch.testing.assert_close(mine, logits(changed.module, IDS), rtol=1e-4, atol=1e-5)
    report = verify(tmp_path / "a")  # a fresh process without tiku
    assert report.ok, report


def test_tied_weights_stay_tied_unless_the_head_is_asked_for(tmp_path: Path) -> None:
    subject, context = subject_of(tied_llama()), tiny_context(tmp_path)
    plain = Int4WeightOnly().apply(subject, context).module
    assert plain.lm_head.weight is plain.model.embed_tokens.weight
    assert plain.config.tie_word_embeddings


def test_a_quantised_head_gets_its_own_weights_and_survives_saving(tmp_path: Path) -> None:
    subject, context = subject_of(tied_llama()), tiny_context(tmp_path)
    changed = Int4WeightOnly(quantize_head=True).apply(subject, context)
    assert changed.module.lm_head.bits == 8 and not changed.module.config.tie_word_embeddings
    assert torch.equal(changed.module.model.embed_tokens.weight, subject.module.model.embed_tokens.weight)
    assert subject.module.config.tie_word_embeddings  # the one it came from
    write(changed, tmp_path / "a", recipe=Recipe(), examples=tiny_texts(4))
    opened = open_artefact(tmp_path / "a")
    mine = torch.from_numpy(opened.session.run({"input_ids": IDS.numpy()}))
    opened.close()
    torch.testing.assert_close(mine, logits(changed.module, IDS), rtol=1e-4, atol=1e-5)


def test_the_facts_say_what_was_left_and_where_another_group_was_taken(tmp_path: Path) -> None:
    subject = tiny_language_model()
    subject.module.model.layers[0].mlp.up_proj = torch.nn.Linear(96, 64)
    subject.module.model.layers[1].mlp.up_proj = torch.nn.Linear(40, 64)
    changed = Int4WeightOnly(group=64).apply(subject, tiny_context(tmp_path))
    told = changed.facts["quantised"]
    assert told["layers"] == 14 and told["skipped"] == {"output head": ["lm_head"]}
    others = told["other_groups_where_it_does_not_divide"]
    assert others["32"] == ["model.layers.*.mlp.up_proj"]
    assert "model.layers.*.mlp.up_proj" in others["per_channel"] and len(others["per_channel"]) == 6
    assert changed.module.model.layers[0].mlp.up_proj.group == 32  # 96 inputs
    assert changed.module.model.layers[1].mlp.up_proj.group == 40
    assert changed.module.model.layers[0].mlp.down_proj.group == 64
    assert changed.numerics.scheme == "int4-weight-only" and changed.numerics.options["group"] == 64


def test_a_second_quantisation_is_refused(tmp_path: Path) -> None:
    subject = replace(tiny_classifier(), numerics=Numerics("int8-dynamic"))
    for method in (Int8WeightOnly(), Int4WeightOnly()):
        support = method.supports(subject)
        assert not support and "int8-dynamic" in support.reason.en


def test_a_model_without_linear_layers_is_refused() -> None:
    import transformers

    config = transformers.MambaConfig(vocab_size=24, hidden_size=16, num_hidden_layers=0)
    empty = subject_of(seeded(transformers.MambaForCausalLM, config))
    assert not Int4WeightOnly().supports(empty)


@pytest.mark.parametrize("method", [Int8WeightOnly(quantize_head=True), Int4WeightOnly(symmetric=True)])
def test_a_classifier_answers_close_to_what_it_did(method, tmp_path: Path) -> None:
    subject = tiny_classifier()
    changed = method.apply(subject, tiny_context(tmp_path))
    assert away(subject, changed) < 0.2
