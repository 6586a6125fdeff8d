"""Bits per layer: the programme's optimum by enumeration, and models that follow it."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.methods.quantize.models import logits
from tiku.artefact import open_artefact, write
from tiku.core.errors import RecipeError
from tiku.core.method import silent
from tiku.core.recipe import Recipe
from tiku.layers.quantized_linear import QuantizedLinear
from tiku.methods.quantize import _layer_cost
from tiku.methods.quantize._bit_choice import choose, choose_bits
from tiku.methods.quantize._calibration_texts import choose_texts
from tiku.methods.quantize._grid import GridKind, round_to_nearest
from tiku.methods.quantize._layer_cost import LayerTimes, stored_bytes
from tiku.methods.quantize._sensitivity import Answers, divergences
from tiku.methods.quantize._targets import find_targets
from tiku.methods.quantize._weight_only import HEAD_KIND
from tiku.methods.quantize.mixed_bits import MixedBits
from tiku.testing import tiny_classifier, tiny_context, tiny_language_model, tiny_texts


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


def test_a_quality_is_met_at_the_least_cost_of_all() -> None:
    draw = np.random.default_rng(1)
    for _ in range(20):
        losses, costs = draw.random((5, 3)) ** 3, draw.random((5, 3))
        most = float(draw.uniform(losses.min(1).sum(), losses.max(1).sum()))
        found = choose(costs, losses, most)
        everything = list(itertools.product(range(3), repeat=5))
        sums = {c: (costs[range(5), c].sum(), losses[range(5), c].sum()) for c in everything}
        assert sums[tuple(found)][1] <= most * (1 + 1e-6)
        best = min(cost for cost, loss in sums.values() if loss <= most)
        assert sums[tuple(found)][0] == pytest.approx(best, rel=1e-5)


def test_a_target_that_is_met_exactly_is_met_and_one_below_all_is_refused_with_the_least() -> None:
    losses = np.array([[3.0, 1.0], [5.0, 2.0]])
    costs = np.array([[1.0, 4.0], [1.0, 4.0]])
    assert choose(costs, losses, 3.0) == [1, 1]
    with pytest.raises(RecipeError, match="no choice of bits meets") as told:
        choose(costs, losses, 2.9, "nats")
    assert "3 or more" in str(told.value)


def _divergence_by_hand(before: torch.Tensor, after: torch.Tensor) -> float:
    p, q = before.double().softmax(-1), after.double().softmax(-1)
    return float((p * (p / q).log()).sum(-1).mean())


def test_the_sensitivity_by_logits_is_the_divergence_with_that_layer_alone_rounded(tmp_path: Path) -> None:
    subject = tiny_language_model()
    texts = choose_texts(subject, tiny_context(tmp_path), tokens=200, window=48)
    answers, kinds = Answers.of(subject, texts, 200), [GridKind(2, 32, False), HEAD_KIND]
    layers = find_targets(subject).layers[:3]
    importances = [torch.ones(layer.inputs) for layer in layers]
    found = divergences(answers, layers, importances, kinds, silent)
    ids = [torch.tensor([e["input_ids"]]) for e in texts.encodings]
    for layer, by_kind in zip(layers, found, strict=True):
        for kind, value in zip(kinds, by_kind, strict=True):
            changed = copy.deepcopy(subject.module)
            changed.get_submodule(layer.name).weight.data = round_to_nearest(layer.weight(), kind).weight()
            rows = [(logits(subject.module, one)[0], logits(changed, one)[0]) for one in ids]
            by_hand = _divergence_by_hand(torch.cat([a for a, _ in rows]), torch.cat([b for _, b in rows]))
            assert value == pytest.approx(by_hand, rel=1e-3, abs=1e-7)
    assert answers.divergence() < 1e-7, "the layers multiply by their own weights again"


@pytest.mark.parametrize("make", [tiny_classifier, tiny_language_model])
def test_a_quality_in_nats_is_met_and_what_became_of_it_is_told(make, tmp_path: Path) -> None:
    sizes = []
    for most in (1e-4, 1e-2):
        method = MixedBits(least_bits=2, sensitivity="logits", target="quality", most_loss=most)
        changed = method.apply(make(), tiny_context(tmp_path))
        told = changed.facts["quantised"]["mixed_bits"]
        assert told["sum_of_sensitivities"] <= most and 0 <= told["divergence"] < 10 * most
        sizes.append(told["mean_bits"])
    assert sizes[0] > sizes[1]


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
def test_each_shape_and_number_of_bits_is_timed_once(runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if runtime == "onnxruntime":
        pytest.importorskip("onnxruntime")
    timed = []
    monkeypatch.setattr(_layer_cost, "_timed", lambda call: timed.append(call()) or float(len(timed)))
    times = LayerTimes(runtime, rows=3, threads=1)
    kinds = [GridKind(4, 32, False), HEAD_KIND]
    first = [times.seconds(48, 64, kind) for kind in kinds]
    assert [times.seconds(48, 64, kind) for kind in kinds] == first == [1.0, 2.0]
    assert times.seconds(64, 48, kinds[0]) == 3.0 and len(timed) == 3 == len(times.told())
    outputs = [np.asarray(y[0] if isinstance(y, list) else y) for y in timed]
    assert [y.shape for y in outputs] == [(3, 48), (3, 48), (3, 64)]


def test_the_time_of_a_layer_grows_with_its_work() -> None:
    times = LayerTimes("torch", rows=256, threads=1)
    assert times.seconds(1024, 1024, HEAD_KIND) > times.seconds(64, 64, HEAD_KIND) > 0


def test_within_a_time_the_layers_are_chosen_by_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock by which 4 bits take half as long as 8: three quarters of the time leaves half of each."""
    clock = LayerTimes.seconds
    monkeypatch.setattr(LayerTimes, "seconds", lambda self, o, i, kind: o * i * (1e-9 * kind.bits))
    method = MixedBits(cost="time", most_time=0.75)
    told = method.apply(tiny_language_model(), tiny_context(tmp_path)).facts["quantised"]["mixed_bits"]
    assert 5.5 < told["mean_bits"] <= 6.0
    monkeypatch.setattr(LayerTimes, "seconds", clock)
    method = MixedBits(cost="time", target="quality", most_loss=1.0)
    told = method.apply(tiny_language_model(), tiny_context(tmp_path)).facts["quantised"]["mixed_bits"]
    assert told["sum_of_sensitivities"] <= 1.0
    assert told["microseconds"] and all(value > 0 for value in told["microseconds"].values())


def test_bytes_of_a_layer_are_those_of_its_buffers() -> None:
    # 4 bits: 48 x 64 / 2; 2 groups of 32: a float32 scale each, and a zero of 4 bits, 8 outputs per word
    assert stored_bytes(48, 64, GridKind(4, 32, False)) == 1536 + 48 * 2 * 4 + 6 * 2 * 4
    assert stored_bytes(48, 64, HEAD_KIND) == 3072 + 48 * 4


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
