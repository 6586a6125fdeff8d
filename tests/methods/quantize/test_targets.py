"""Which layers are stored in few bits: linear layers of the body, and nothing that must stay as it is."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, T5Config

from tests.methods.quantize.models import gpt2, mixtral, seeded, subject_of, tied_llama
from tiku.core.errors import ModelError
from tiku.core.subject import Subject
from tiku.methods.quantize._targets import find_targets, patterns
from tiku.testing import tiny_classifier, tiny_language_model


def names(subject: Subject, **asked: bool) -> set[str]:
    return {layer.name for layer in find_targets(subject, **asked).layers}


def test_a_llama_gives_its_seven_projections_per_layer_and_keeps_its_head() -> None:
    found = names(tiny_language_model())
    assert len(found) == 14 and all(name.endswith("_proj") for name in found)
    assert find_targets(tiny_language_model()).skipped == {"lm_head": "output head"}


def test_a_classifier_keeps_its_head_unless_asked() -> None:
    assert "classifier" not in names(tiny_classifier())
    assert names(tiny_classifier(), quantize_head=True) - names(tiny_classifier()) == {"classifier"}


def test_transposed_layers_give_the_weight_of_their_linear_twin() -> None:
    layers = find_targets(subject_of(gpt2())).layers
    assert len(layers) == 8 and all(layer.transposed for layer in layers)
    x = torch.randn(3, 32)
    first = layers[0]
    twin = nn.functional.linear(x, first.weight(), first.bias)
    torch.testing.assert_close(twin, first.module(x))
    assert first.inputs == 32 and first.weight().shape == (96, 32)


def test_new_weights_go_in_the_way_the_layer_stores_them() -> None:
    layer = find_targets(subject_of(gpt2())).layers[0]
    wanted = torch.randn(96, 32)
    layer.set_weight(wanted)
    torch.testing.assert_close(layer.module(torch.eye(32)) - layer.bias, wanted.T)


def test_a_head_tied_to_the_embedding_is_left_like_any_head() -> None:
    assert find_targets(subject_of(tied_llama())).skipped == {"lm_head": "output head"}


def test_routers_and_stacked_experts_are_no_targets() -> None:
    assert all(name.split(".")[-2] == "self_attn" for name in names(subject_of(mixtral())))


def test_a_linear_router_is_known_by_its_name_and_width() -> None:
    module = tied_llama()
    module.config.num_experts = 4
    for block in module.model.layers:
        block.mlp.gate = nn.Linear(32, 4)  # a router
        block.self_attn.gate = nn.Linear(32, 64)  # a gate of another kind
    skipped = find_targets(subject_of(module)).skipped
    assert {name for name, why in skipped.items() if why == "router of experts"} == {
        "model.layers.0.mlp.gate",
        "model.layers.1.mlp.gate",
    }


def test_layers_that_share_their_weights_stay_shared() -> None:
    module = tied_llama()
    first, second = (block.mlp for block in module.model.layers)
    second.up_proj.weight = first.up_proj.weight
    second.down_proj = first.down_proj
    skipped = find_targets(subject_of(module)).skipped
    assert sum(why == "shares its weights with another module" for why in skipped.values()) == 3


def test_what_the_architecture_keeps_in_float32_is_left() -> None:
    config = T5Config(
        vocab_size=24, d_model=32, d_ff=64, d_kv=16, num_layers=1, num_heads=2, num_labels=2, pad_token_id=0
    )
    module = seeded(AutoModelForSequenceClassification.from_config, config)
    skipped = find_targets(subject_of(module, "text-classification", ("a", "b"))).skipped
    assert {why for name, why in skipped.items() if name.endswith(".wo")} == {
        "the architecture keeps it in float32"
    }


def test_a_module_that_is_no_transformers_model_keeps_its_last_linear_layer() -> None:
    class Odd(nn.Linear):
        pass

    module = nn.Sequential(nn.Linear(4, 8), Odd(8, 8), nn.ReLU(), nn.Linear(8, 2))
    targets = find_targets(Subject("text-classification", "torch-module", module, None))
    assert [layer.name for layer in targets.layers] == ["0"]
    assert targets.skipped == {"3": "output head", "1": "a linear layer of another kind"}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(bad: float) -> None:
    subject = tiny_language_model()
    subject.module.model.layers[1].mlp.up_proj.weight.data[3, 4] = bad
    with pytest.raises(ModelError, match=r"not a finite number") as raised:
        find_targets(subject)
    assert raised.value.got == "model.layers.1.mlp.up_proj.weight"


def test_names_are_listed_by_pattern() -> None:
    assert patterns(["h.0.fc", "h.1.fc", "head", "h.0.fc2"]) == ["h.*.fc (2)", "head", "h.*.fc2"]
