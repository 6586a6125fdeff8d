"""Quantised linear layers in a torch artefact: stored in few bits, read back, readable without tiku."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tiku.artefact import load_subject, open_artefact, verify, write
from tiku.core.recipe import Recipe
from tiku.core.subject import Numerics, Subject
from tiku.layers.quantized_linear import Codes, QuantizedLinear
from tiku.testing import tiny_classifier, tiny_language_model, tiny_texts


def nearest(weight: torch.Tensor, bits: int, group: int, symmetric: bool) -> Codes:
    outputs, inputs = weight.shape
    parts = weight.reshape(outputs, -1, group)
    top = (1 << bits) - 1
    if symmetric:
        scale, zero = parts.abs().amax(-1) / (top // 2), None
        codes = (parts / scale[..., None]).round() + (1 << bits - 1)
    else:
        low, high = parts.amin(-1).clamp(max=0), parts.amax(-1).clamp(min=0)
        scale = (high - low) / top
        zero = (-low / scale).round().to(torch.uint8)
        codes = (parts / scale[..., None]).round() + zero[..., None]
    return Codes(bits, group, codes.clamp(0, top).reshape(outputs, inputs).to(torch.uint8), scale, zero)


def quantised(subject: Subject, bits: int, symmetric: bool) -> Subject:
    """Every linear layer but the last; groups of 16 and of 8, so that there are two kinds of grid."""
    module = copy.deepcopy(subject.module)
    layers = [(n, m) for n, m in module.named_modules() if isinstance(m, torch.nn.Linear)]
    for place, (name, layer) in enumerate(layers[:-1]):
        parent, _, leaf = name.rpartition(".")
        codes = nearest(layer.weight.data, bits, 16 if place % 2 else 8, symmetric)
        setattr(module.get_submodule(parent), leaf, QuantizedLinear.of(codes, layer.bias))
    return replace(subject, module=module, numerics=Numerics(f"int{bits}-weight-only"))


def logits(module: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return module(input_ids=ids).logits


@pytest.mark.parametrize("make", [tiny_classifier, tiny_language_model])
@pytest.mark.parametrize(("bits", "symmetric"), [(4, True), (4, False), (3, False), (8, True)])
def test_the_artefact_answers_as_the_module_with_tiku_and_without(make, bits, symmetric, tmp_path) -> None:
    subject = quantised(make(), bits, symmetric)
    write(subject, tmp_path / "a", recipe=Recipe(), examples=tiny_texts(4))
    ids = torch.randint(0, 20, (2, 9))
    opened = open_artefact(tmp_path / "a")
    mine = torch.from_numpy(opened.session.run({"input_ids": ids.numpy()}))
    opened.close()
    torch.testing.assert_close(mine, logits(subject.module, ids), rtol=1e-4, atol=1e-5)
    report = verify(tmp_path / "a")  # a fresh process that has no tiku
    assert report.ok, report


def test_an_opened_artefact_can_be_changed_and_saved_again(tmp_path: Path) -> None:
    subject = quantised(tiny_language_model(), 4, symmetric=False)
    write(subject, tmp_path / "a", recipe=Recipe(), examples=tiny_texts(4))
    again = load_subject(tmp_path / "a")
    write(again, tmp_path / "b", recipe=Recipe(), examples=tiny_texts(4))
    first, second = (p.read_bytes() for p in sorted(tmp_path.glob("*/model/model.safetensors")))
    assert first == second


def test_the_stored_weights_are_small(tmp_path: Path) -> None:
    sizes = {}
    for bits in (8, 4):
        write(
            quantised(tiny_language_model(), bits, True),
            tmp_path / str(bits),
            recipe=Recipe(),
            examples=tiny_texts(2),
        )
        config = json.loads((tmp_path / str(bits) / "model" / "config.json").read_bytes())
        assert config["quantization_config"]["format"] == "pack-quantized"
        sizes[bits] = (tmp_path / str(bits) / "model" / "model.safetensors").stat().st_size
    assert sizes[4] < sizes[8]


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_the_reference_package_reads_symmetric_grids(bits: int, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    subject = quantised(tiny_language_model(), bits, symmetric=True)
    write(subject, tmp_path / "a", recipe=Recipe(), examples=tiny_texts(2))
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "a" / "model", dtype=torch.float32)
    ids = torch.randint(0, 20, (2, 9))
    torch.testing.assert_close(logits(theirs, ids), logits(subject.module, ids), rtol=1e-4, atol=1e-5)
