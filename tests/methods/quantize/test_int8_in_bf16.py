"""int8-weight-only that computes in bfloat16: what is stored how, how near it stays, where it is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from tests.methods.quantize.models import gpt2, logits, subject_of, tied_llama
from tiku.artefact import open_artefact, verify, write
from tiku.core.recipe import Recipe
from tiku.core.subject import Subject
from tiku.layers.quantized_linear import QuantizedLinear
from tiku.methods.compile.onnxruntime import OnnxRuntimeMethod
from tiku.methods.quantize.bfloat16 import BFloat16
from tiku.methods.quantize.int8_weight_only import Int8WeightOnly
from tiku.runtimes import _sixteen_bits
from tiku.testing import tiny_classifier, tiny_context, tiny_language_model, tiny_texts

IDS = torch.randint(0, 20, (3, 11), generator=torch.Generator().manual_seed(0))
METHOD = Int8WeightOnly(compute="bf16")


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that multiplies in bfloat16: torch does so everywhere, the slow way if it must."""
    monkeypatch.setattr(_sixteen_bits, "_flags", lambda: frozenset({"avx512_bf16"}))


def stored(folder: Path) -> dict[str, str]:
    """Name to type of all that the artefact's file holds."""
    with safe_open(folder / "model" / "model.safetensors", framework="numpy") as file:
        return {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118


@pytest.mark.parametrize("make", [tiny_classifier, tiny_language_model, lambda: subject_of(gpt2())])
def test_codes_are_stored_and_everything_else_is_bfloat16(able: None, make, tmp_path: Path) -> None:
    subject = METHOD.apply(make(), tiny_context(tmp_path))
    write(subject, tmp_path / "a", recipe=Recipe.of(METHOD), examples=tiny_texts(4))
    types = stored(tmp_path / "a")
    assert {types[name] for name in types if name.endswith("weight_packed")} == {"I32"}
    few = {name.rpartition(".")[0] for name in types if name.endswith("weight_packed")}
    assert {types[n] for n in types if n.rpartition(".")[0] not in few} == {"BF16"}
    opened = open_artefact(tmp_path / "a", threads=1, device="cpu")
    answers = opened.session.run({"input_ids": IDS.numpy()})
    opened.close()
    assert answers.dtype == np.float32
    np.testing.assert_array_equal(answers, logits(subject.module, IDS).float().numpy())
    report = verify(tmp_path / "a")
    assert report.ok and report.without_tiku, report


def test_scales_lose_nothing_in_bfloat16(able: None, tmp_path: Path) -> None:
    made = Int8WeightOnly(compute="bf16", quantize_head=True)
    module = made.apply(subject_of(tied_llama()), tiny_context(tmp_path)).module
    layers = [part for part in module.modules() if isinstance(part, QuantizedLinear)]
    assert len(layers) == 15
    for layer in layers:
        assert layer.weight_scale.dtype == torch.float32
        assert torch.equal(layer.weight_scale.bfloat16().float(), layer.weight_scale)


def test_every_weight_is_within_half_a_step_or_cut_off(able: None, tmp_path: Path) -> None:
    subject = tiny_language_model()
    module = METHOD.apply(subject, tiny_context(tmp_path)).module
    for name, layer in module.named_modules():
        if isinstance(layer, QuantizedLinear):
            weight, codes = subject.module.get_submodule(name).weight, layer.codes().codes_OI
            away = (layer.weight - weight).abs() / layer.weight_scale
            assert (away[(codes > 0) & (codes < 255)] <= 0.5001).all()


def test_it_is_as_near_as_bfloat16_alone_but_for_the_rounding_to_8_bits(able: None, tmp_path: Path) -> None:
    subject, context = tiny_language_model(), tiny_context(tmp_path)
    own = logits(subject.module, IDS)

    def away(changed: Subject) -> float:
        return float((logits(changed.module, IDS).float() - own).norm() / own.norm())

    narrow, rounded = BFloat16().apply(subject, context), Int8WeightOnly().apply(subject, context)
    both = METHOD.apply(subject, context)
    assert 0 < away(both) < 1.5 * (away(narrow) + away(rounded))


def test_it_is_refused_where_it_cannot_compute(able: None, monkeypatch, tmp_path: Path) -> None:
    assert METHOD.supports(tiny_language_model())
    made = METHOD.apply(tiny_language_model(), tiny_context(tmp_path))
    assert not METHOD.supports(made)
    assert "int8-weight-only-bf16" in OnnxRuntimeMethod().supports(made).reason.en
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(_sixteen_bits, "_flags", lambda: frozenset({"avx2"}))
    assert "no bf16 arithmetic" in METHOD.supports(tiny_language_model()).reason.en
    assert Int8WeightOnly().supports(tiny_language_model())
