"""Static int8 in the exporting runtimes: whole-number products, int8 kernels, and refusals without them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from tests.methods.quantize.models import gpt2, logits, subject_of, tied_llama
from tiku.artefact import open_artefact, verify, write
from tiku.core import registry
from tiku.core.errors import ArtefactError, ModelError
from tiku.core.recipe import Recipe
from tiku.core.subject import Numerics
from tiku.methods.quantize.int8_static import Int8Static
from tiku.runtimes import _onnx_static, _openvino_static, _sixteen_bits, _static_int8
from tiku.runtimes._static_int8 import InputGrid, weight_codes
from tiku.testing import tiny_classifier, tiny_context, tiny_texts

BOTH = pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])


def built(subject, runtime, folder, **config):
    subject = replace(Int8Static(**config).apply(subject, tiny_context(folder)), runtime=runtime)
    rooms = registry.get("runtimes", runtime)
    facts = rooms.save(subject, folder / "model")
    return facts, rooms.open(folder / "model", task=subject.task, options={}, threads=1, device="cpu")


def test_grids_meet_zero_and_span_the_range() -> None:
    grid = InputGrid.spanning(-1.0, 4.1)
    assert grid.zero == 50 and grid.scale == pytest.approx(0.02)
    assert grid.ends == pytest.approx((-1.0, 4.1))
    assert InputGrid.spanning(0.5, 2.55) == InputGrid.spanning(0.0, 2.55)
    assert InputGrid.spanning(0.0, 0.0) == InputGrid(1.0, 0)


def test_weights_lose_half_a_step_at_most_and_rows_of_zeros_stay() -> None:
    weight = np.random.default_rng(0).normal(size=(5, 40)).astype(np.float32)
    weight[2] = 0
    for largest in (63, 127):
        codes, scale = weight_codes(weight, largest)
        assert np.abs(codes).max() == largest and codes.dtype == np.int8
        assert (np.abs(codes * scale[:, None] - weight) <= 0.5001 * scale[:, None]).all()


class OneLayer(torch.nn.Module):
    """Classes are sums over a text of what a linear layer makes of three numbers per token."""

    WEIGHT = ((0.6, -1.0, 0.25), (2.0, 0.0, -0.5))
    TABLE = ((0.0, 0.0, 0.0), (1.0, 0.5, -1.0), (2.0, -1.0, 0.75), *((0.3, 0.3, 0.3),) * 21)

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding.from_pretrained(torch.tensor(self.TABLE))
        self.layer = torch.nn.Linear(3, 2)
        self.layer.weight.data = torch.tensor(self.WEIGHT)
        self.layer.bias.data = torch.tensor([0.125, -3.0])
        self.head = torch.nn.Linear(2, 2, bias=False)
        self.head.weight.data = torch.eye(2)

    def forward(self, input_ids, token_type_ids=None, attention_mask=None):
        return self.head(self.layer(self.table(input_ids)).sum(1))


@BOTH
def test_a_product_equals_the_integer_arithmetic_by_hand(runtime, tmp_path) -> None:
    numerics = Numerics("int8-static", {"ranges": {"layer": [-1.0, 1.55]}, "reduce_range": True})
    module = OneLayer().eval()
    subject = replace(tiny_classifier(), module=module, runtime=runtime, numerics=numerics)
    rooms = registry.get("runtimes", runtime)
    facts = rooms.save(subject, tmp_path)
    assert facts["int8_products"] == {"taken": 1, "asked": 1}
    # scale 0.01, zero 100: 1.0 -> 200, 0.5 -> 150, -1.0 -> 0; 2.0 is clipped to 255, 0.75 -> 175
    codes_of_tokens = {1: (200, 150, 0), 2: (255, 0, 175)}
    codes_of_weights = ((38, -63, 16), (63, 0, -16))  # 0.6 * 63 = 37.8, 0.25 * 63 = 15.75
    scales = (1 / 63, 2 / 63)
    session = rooms.open(tmp_path, task="text-classification", options={}, threads=1, device="cpu")
    for token, codes in codes_of_tokens.items():
        sums = [sum((c - 100) * w for c, w in zip(codes, row, strict=True)) for row in codes_of_weights]
        expected = [s * 0.01 * k + b for s, k, b in zip(sums, scales, (0.125, -3.0), strict=True)]
        fed = {name: np.array([[token]]) for name in ("input_ids", "token_type_ids", "attention_mask")}
        np.testing.assert_allclose(session.run(fed)[0], expected, rtol=1e-5, atol=1e-5)
    session.close()


@BOTH
@pytest.mark.parametrize(
    "make", [tiny_classifier, lambda: subject_of(tied_llama()), lambda: subject_of(gpt2())]
)
def test_every_product_of_the_body_is_taken_and_answers_stay_near(runtime, make, tmp_path) -> None:
    subject = make()
    facts, session = built(subject, runtime, tmp_path)
    asked = 13 if subject.task == "text-classification" else (14 if hasattr(subject.module, "model") else 8)
    assert facts["int8_products"] == {"taken": asked, "asked": asked}
    ids = np.random.default_rng(0).integers(4, 20, size=(3, 11))
    fed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    own = logits(subject.module, torch.from_numpy(ids)).numpy()
    away = np.abs(session.run(fed) - own).max()
    session.close()
    assert 0 < away < 0.2 * np.abs(own).max()
    if subject.task == "causal-lm":
        assert facts["away_from_module"]["nats"] < facts["away_from_module"]["garbage_from"]


@BOTH
def test_the_artefact_is_proven_in_a_fresh_process_and_says_how_far_it_is(runtime, tmp_path) -> None:
    subject = replace(Int8Static().apply(tiny_classifier(), tiny_context(tmp_path)), runtime=runtime)
    manifest = write(subject, tmp_path / "a", recipe=Recipe(), examples=tiny_texts(8))
    assert manifest.facts["built"]["int8_products"] == {"taken": 13, "asked": 13}
    assert 0 < manifest.check["away_from_module"]["nats"] < 0.1
    report = verify(tmp_path / "a")
    assert report.ok and report.without_tiku


def test_float_weights_of_quantised_layers_are_not_kept(tmp_path) -> None:
    built(tiny_classifier(), "onnxruntime", tmp_path)[1].close()
    graph = onnx.load(tmp_path / "model" / "model.onnx").graph
    kinds = {t.name: t.data_type for t in graph.initializer if "query" in t.name}
    assert onnx.TensorProto.INT8 in kinds.values()
    assert not any("weight" in name for name in kinds)
    codes = [t for t in graph.initializer if t.data_type == onnx.TensorProto.INT8]
    assert len(codes) == 13 and max(np.abs(onnx.numpy_helper.to_array(t)).max() for t in codes) == 63


def test_layers_that_read_one_tensor_share_its_codes(tmp_path) -> None:
    built(tiny_classifier(), "onnxruntime", tmp_path)[1].close()
    graph = onnx.load(tmp_path / "model" / "model.onnx").graph
    # per block: attention's three layers, its output, and the two of the feed-forward; the pooler
    assert sum(node.op_type == "QuantizeLinear" for node in graph.node) == 2 * 4 + 1


@BOTH
def test_a_runtime_that_takes_no_int8_kernel_is_refused(runtime, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(_onnx_static, "_KERNELS", ())
    monkeypatch.setattr(_openvino_static, "_INT8", "_NONE")
    with pytest.raises(ModelError, match="no int8 kernel") as caught:
        built(tiny_classifier(), runtime, tmp_path)
    assert caught.value.got == "0 of 13 products"


HAS_BF16 = pytest.mark.skipif(
    not _sixteen_bits.multiplies("bf16", gpu=False), reason="this processor has no bfloat16"
)


@HAS_BF16
def test_the_rest_in_bfloat16_leaves_every_product_in_int8_and_is_proven_without_tiku(tmp_path) -> None:
    def written(rest):
        subject = Int8Static(rest=rest).apply(tiny_classifier(), tiny_context(tmp_path))
        subject = replace(subject, runtime="openvino")
        return write(subject, tmp_path / rest, recipe=Recipe(), examples=tiny_texts(8))

    narrow, wide = written("bf16"), written("fp32")
    for manifest in (narrow, wide):
        assert manifest.facts["built"]["int8_products"] == {"taken": 13, "asked": 13}
        assert 0 < manifest.check["away_from_module"]["nats"] < 0.1
    used, plain = narrow.facts["built"]["computed_in"], wide.facts["built"]["computed_in"]
    assert used["products"]["int8"] == plain["products"]["int8"] == 13
    assert used["rest"]["bf16"] >= 10 and "f32" not in used["rest"]  # 2 norms and 2 sums a layer, and more
    assert set(plain["rest"]) == {"f32"}
    report = verify(tmp_path / "bf16")
    assert report.ok and report.without_tiku
    largest = np.abs(np.load(tmp_path / "bf16" / "check.npz")["logits"]).max()
    assert narrow.check["tolerance"] >= torch.finfo(torch.bfloat16).eps * largest


def test_the_rest_in_bfloat16_is_refused_where_it_would_not_be(monkeypatch, tmp_path) -> None:
    def support(runtime, make=tiny_classifier):
        numerics = Numerics("int8-static", {"ranges": {}, "rest": "bf16"})
        rooms = registry.get("runtimes", runtime)
        return rooms.supports(replace(make(), runtime=runtime, numerics=numerics))

    monkeypatch.setattr(_sixteen_bits, "_flags", lambda: frozenset({"avx512_bf16"}))
    assert support("openvino")
    for refused, reason in (
        (support("onnxruntime"), "in float32 only"),
        (support("openvino", lambda: subject_of(tied_llama())), "language models"),
    ):
        assert not refused and reason in refused.reason.en and refused.reason.zh
    monkeypatch.setattr(_sixteen_bits, "_flags", frozenset)
    assert "no bf16 arithmetic" in support("openvino").reason.en
    monkeypatch.setattr(_openvino_static, "_COMPUTING", ())
    with pytest.raises(ModelError, match="no bfloat16 kernel"):
        built(tiny_classifier(), "openvino", tmp_path, rest="bf16")


@BOTH
def test_eight_bit_weights_are_not_opened_where_their_products_saturate(
    runtime, tmp_path, monkeypatch
) -> None:
    def written(name, **config):
        subject = Int8Static(**config).apply(tiny_classifier(), tiny_context(tmp_path))
        subject = replace(subject, runtime=runtime)
        write(subject, tmp_path / name, recipe=Recipe(), examples=tiny_texts(8))

    monkeypatch.setattr(_static_int8, "adds_in_32_bits", lambda: True)
    written("8", reduce_range=False)
    written("7", reduce_range=True)
    monkeypatch.setattr(_static_int8, "adds_in_32_bits", lambda: False)
    with pytest.raises(ArtefactError, match="wrong answers") as caught:
        open_artefact(tmp_path / "8", threads=1, device="cpu")
    assert "saturate" in caught.value.got
    open_artefact(tmp_path / "7", threads=1, device="cpu").close()


@BOTH
def test_a_layer_that_is_no_product_of_the_graph_is_an_error(runtime, tmp_path) -> None:
    numerics = Numerics("int8-static", {"ranges": {"bert.nowhere": [-1.0, 1.0]}})
    subject = replace(tiny_classifier(), runtime=runtime, numerics=numerics)
    with pytest.raises(ModelError, match="no matrix product"):
        registry.get("runtimes", runtime).save(subject, tmp_path)


@pytest.mark.parametrize("runtime", ["torch", "torch-compile"])
def test_runtimes_without_such_kernels_say_so(runtime) -> None:
    subject = replace(tiny_classifier(), runtime=runtime, numerics=Numerics("int8-static", {"ranges": {}}))
    support = registry.get("runtimes", runtime).supports(subject)
    assert not support and "int8-static" in support.reason.en and "int8-static" in support.reason.zh
