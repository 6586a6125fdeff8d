"""Static int8: ranges, smoothing that changes nothing, and the errors of calibration."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.methods.quantize.models import gpt2, logits, subject_of, tied_llama
from tiku.core.errors import DataError, ModelError, RecipeError
from tiku.core.method import Situation
from tiku.core.recipe import Recipe
from tiku.methods.quantize._activation_ranges import range_of, smoothing_scale
from tiku.methods.quantize._calibration import SharedInput
from tiku.methods.quantize._targets import Layer, find_targets
from tiku.methods.quantize.int8_static import Int8Static
from tiku.runtimes import _sixteen_bits, _static_int8
from tiku.testing import tiny_classifier, tiny_context, tiny_language_model

IDS = torch.randint(0, 20, (3, 11), generator=torch.Generator().manual_seed(0))


def with_large_inputs(module):
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "norm" in name or "ln_" in name:
                parameter[::7] += 6
    return module


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.85])
@pytest.mark.parametrize("make", [lambda: tied_llama(kv_heads=2), gpt2])
def test_smoothing_leaves_the_function_as_it_is(make, alpha, tmp_path: Path) -> None:
    subject = subject_of(with_large_inputs(make()))
    found = Int8Static(smooth=alpha).apply(subject, tiny_context(tmp_path))
    assert found.facts["quantised"]["smooth"]["layers"] > 0
    before, after = logits(subject.module, IDS), logits(found.module, IDS)
    assert not torch.equal(
        subject.module.state_dict()[f"{first(subject)}.weight"],
        found.module.state_dict()[f"{first(subject)}.weight"],
    )
    assert float((after - before).abs().max()) <= 1e-5 * float(before.abs().max())


def first(subject) -> str:
    return find_targets(subject).layers[0].name


def test_smoothing_evens_out_the_inputs_that_the_ranges_have_to_hold(tmp_path: Path) -> None:
    subject = subject_of(with_large_inputs(tied_llama()))
    context = tiny_context(tmp_path)
    name = "model.layers.0.self_attn.q_proj"
    wide, narrow = (
        np.ptp(Int8Static(smooth=alpha).apply(subject, context).numerics.options["ranges"][name])
        for alpha in (None, 0.75)
    )
    assert narrow < 0.5 * wide


def test_the_report_counts_the_layers_without_an_exact_fold(tmp_path: Path) -> None:
    told = Int8Static().apply(tiny_classifier(), tiny_context(tmp_path)).facts["quantised"]
    assert told["smooth"] == {
        "alpha": 0.5,
        "layers": 0,
        "without_exact_fold": 13,  # six in each of two blocks, and the pooler
        "not_smoothed": told["smooth"]["not_smoothed"],
    }


def test_scales_are_those_of_the_paper_up_to_a_common_factor() -> None:
    scale = smoothing_scale(torch.tensor([16.0, 4.0, 0.0]), [torch.tensor([[1.0, -4.0, 9.0]])], 0.5)
    assert scale[2] == 1
    assert float(scale[0] / scale[1]) == pytest.approx((16 / 1) ** 0.5 / (4 / 4) ** 0.5)


def group_of(x: torch.Tensor, every: int) -> SharedInput:
    group = SharedInput((Layer("one", torch.nn.Linear(x.shape[1], 2), False),), every=every)
    group.start(hessian=False)
    for part in x.split(7):
        group.add(part)
    return group


def test_ranges_hold_everything_or_what_lies_between_two_percentiles() -> None:
    x = torch.arange(-500, 501).float().reshape(-1, 1)[torch.randperm(1001)]
    assert range_of(group_of(x, 0), 100) == (-500, 500)
    assert range_of(group_of(x, 1), 99) == (-490, 490)
    assert range_of(group_of(x, 1), 99, torch.tensor([10.0])) == (-49, 49)


def test_rows_are_kept_evenly_whatever_the_batches() -> None:
    x = torch.arange(100).float().reshape(-1, 1)
    assert torch.cat(group_of(x, 9).kept).flatten().tolist() == list(range(0, 100, 9))


def test_ranges_are_the_extremes_of_what_a_layer_reads(tmp_path: Path) -> None:
    subject, context = tiny_language_model(), tiny_context(tmp_path)
    found = Int8Static(smooth=None, tokens=1_000_000).apply(subject, context)
    name, seen = "model.layers.1.mlp.down_proj", []
    handle = subject.module.get_submodule(name).register_forward_hook(lambda _m, x, _o: seen.append(x[0]))
    with torch.inference_mode():
        for text in context.splits[0].calibration.inputs():
            subject.module(input_ids=torch.tensor([subject.processor(text)["input_ids"]]))
    handle.remove()
    low, high = min(float(x.min()) for x in seen), max(float(x.max()) for x in seen)
    assert found.numerics.options["ranges"][name] == pytest.approx([low, high], rel=1e-5)


def test_too_few_tokens_are_an_error_that_says_how_many(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="too little") as caught:
        Int8Static().apply(tiny_classifier(), tiny_context(tmp_path, count=4))
    assert "tokens in" in caught.value.got and "128" in caught.value.allowed


def test_an_empty_calibration_part_is_an_error(tmp_path: Path) -> None:
    context = tiny_context(tmp_path)
    splits = replace(context.splits[0], calibration=context.splits[0].calibration.take([]))
    with pytest.raises(DataError, match="nothing to calibrate on"):
        Int8Static().apply(tiny_classifier(), replace(context, splits=(splits,)))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "name", ["bert.encoder.layer.0.output.dense.weight", "bert.embeddings.LayerNorm.bias"]
)
def test_numbers_that_are_not_finite_are_named(name, value, tmp_path: Path) -> None:
    subject = tiny_classifier()
    module = copy.deepcopy(subject.module)
    module.state_dict()[name].flatten()[0] = value
    with pytest.raises(ModelError, match="finite"):
        Int8Static().apply(replace(subject, module=module), tiny_context(tmp_path))


def test_full_range_is_refused_where_products_saturate(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(_static_int8.platform, "machine", lambda: "x86_64")
    cpuinfo = tmp_path / "cpuinfo"
    monkeypatch.setattr(_static_int8, "_CPUINFO", cpuinfo)
    for flags, full in (("avx avx2 fma", False), ("avx2 avx512_vnni", True), ("avx2 avx_vnni", True)):
        cpuinfo.write_text(f"processor : 0\nflags\t\t: {flags}\n")
        assert bool(Int8Static(reduce_range=False).supports(tiny_classifier())) == full
        assert Int8Static().supports(tiny_classifier())


def test_candidates_take_what_the_processor_has(tmp_path: Path, monkeypatch) -> None:
    def proposed(flags: str, task: str = "text-classification", budget: str = "standard"):
        (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags\t\t: {flags}\n")
        monkeypatch.setattr(_sixteen_bits, "_flags", lambda: frozenset(flags.split()))
        found = Int8Static.candidates(Situation(task, "", "cpu", 1, budget=budget))
        return [(one.reduce_range, one.rest) for one in found]

    monkeypatch.setattr(_static_int8.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(_static_int8, "_CPUINFO", tmp_path / "cpuinfo")
    assert proposed("avx2 fma") == [(True, "fp32")]
    assert proposed("avx2 avx512_vnni") == [(False, "fp32")]
    assert proposed("avx512_vnni avx512_bf16") == [(False, "fp32"), (False, "bf16")]
    assert proposed("avx512_vnni avx512_bf16", budget="quick") == [(False, "fp32")]
    assert proposed("avx512_vnni avx512_bf16", task="causal-lm") == []


def test_two_number_formats_do_not_stand_in_one_recipe() -> None:
    from tiku.methods.quantize.int8_dynamic import Int8Dynamic

    with pytest.raises(RecipeError):
        Recipe.of(Int8Static(), Int8Dynamic())
