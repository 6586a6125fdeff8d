"""Bits per layer: the programme's optimum by enumeration, and models that follow it."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from tiku.artefact import open_artefact, write
from tiku.core.errors import RecipeError
from tiku.core.recipe import Recipe
from tiku.layers.quantized_linear import QuantizedLinear
from tiku.methods.quantize._bit_choice import choose_bits
from tiku.methods.quantize.mixed_bits import MixedBits
from tiku.testing import tiny_context, tiny_language_model, tiny_texts


def test_the_choice_is_the_best_of_all_that_keep_the_mean() -> None:
    draw = np.random.default_rng(0)
    bits = (3, 4, 8)
    for _ in range(20):
        errors = -np.sort(-(draw.random((6, 3)) ** 3), axis=1)
        sizes = draw.integers(1, 50, 6)
        mean = float(draw.uniform(3.2, 7.5))
        found = choose_bits(errors, sizes, bits, mean)
        allowed = [
            sum(errors[i, c] for i, c in enumerate(choice))
            for choice in itertools.product(range(3), repeat=6)
            if sum(bits[c] * n for c, n in zip(choice, sizes, strict=True)) <= mean * sizes.sum() + 1e-6
        ]
        assert sum(bits[c] * n for c, n in zip(found, sizes, strict=True)) <= mean * sizes.sum() + 1e-6
        assert sum(errors[i, c] for i, c in enumerate(found)) == pytest.approx(min(allowed), rel=1e-5)


def test_a_mean_below_the_fewest_bits_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(RecipeError, match="below the fewest"):
        choose_bits(np.ones((2, 2)), np.array([1, 1]), (4, 8), 3.5)
    assert not MixedBits(mean_bits=3.5).supports(tiny_language_model())


def test_layers_get_the_bits_they_are_told_to_have_and_the_artefact_keeps_them(tmp_path: Path) -> None:
    subject = tiny_language_model()
    changed = MixedBits(mean_bits=5.0, least_bits=3).apply(subject, tiny_context(tmp_path))
    told = changed.facts["quantised"]["mixed_bits"]
    layers = {n: m for n, m in changed.module.named_modules() if isinstance(m, QuantizedLinear)}
    assert {n for n, m in layers.items() if m.bits == 8} == set(told["eight_bits"])
    weights = {n: m.in_features * m.out_features for n, m in layers.items()}
    mean = sum(layers[n].bits * count for n, count in weights.items()) / sum(weights.values())
    assert mean == pytest.approx(told["mean_bits"]) and 4.5 < mean <= 5.0
    assert len({m.bits for m in layers.values()}) > 1
    write(changed, tmp_path / "a", recipe=Recipe(), examples=tiny_texts(4))
    opened = open_artefact(tmp_path / "a")
    ids = torch.randint(0, 20, (2, 9))
    mine = opened.session.run({"input_ids": ids.numpy()})
    opened.close()
    with torch.inference_mode():
        torch.testing.assert_close(torch.from_numpy(mine), changed.module(ids).logits, rtol=1e-4, atol=1e-5)


def test_the_layer_that_errs_most_is_the_one_that_keeps_eight_bits(tmp_path: Path) -> None:
    subject = tiny_language_model()
    weight = subject.module.model.layers[1].mlp.up_proj.weight.data
    weight[:, ::8] *= 40  # a few inputs dwarf their groups, and carry little of the output
    subject.module.model.layers[1].post_attention_layernorm.weight.data[::8] /= 200
    changed = MixedBits(mean_bits=4.6).apply(subject, tiny_context(tmp_path))
    assert "model.layers.1.mlp.up_proj" in changed.facts["quantised"]["mixed_bits"]["eight_bits"]
