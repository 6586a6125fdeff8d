"""Language models in fewer bits in the exporting runtimes: the codes that were given, and no garbage."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from tests.measure.language.models import llama
from tests.runtimes.test_language_models import near, opened, own_logits, qwen2, subject_of, tokens
from tests.runtimes.test_packed_weights import nearest
from tiku.artefact import verify, write
from tiku.core import registry
from tiku.core.errors import ModelError
from tiku.core.recipe import Recipe
from tiku.core.subject import Numerics
from tiku.layers.quantized_linear import QuantizedLinear
from tiku.runtimes import _onnx_graph
from tiku.runtimes._drift import refuse_garbage
from tiku.runtimes._onnx_language import OnnxLanguageSession
from tiku.runtimes._openvino_language import OpenVinoLanguageSession
from tiku.testing import tiny_classifier, tiny_language_model, tiny_texts

GRIDS = [(4, 16, True), (4, 16, False), (3, 16, True), (2, 16, False), (8, 0, True), (4, 0, False)]


def packed(module, bits, group, symmetric, left="lm_head"):
    """Every linear layer but one in few bits; group 0: one scale per output."""
    module = copy.deepcopy(module)
    for name, layer in list(module.named_modules()):
        if isinstance(layer, torch.nn.Linear) and name != left:
            parent, _, leaf = name.rpartition(".")
            codes = nearest(layer.weight.data, bits, group or layer.in_features, symmetric)
            setattr(module.get_submodule(parent), leaf, QuantizedLinear.of(codes, layer.bias))
    return module


def weight_only(module, bits, runtime="onnxruntime"):
    return subject_of(module, runtime, Numerics(f"int{bits}-weight-only"))


BOTH = pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])


def graph_of(folder):
    return onnx.load(folder / "model.onnx").graph


@pytest.mark.parametrize(("bits", "group", "symmetric"), GRIDS)
def test_onnx_graph_holds_the_given_codes(bits, group, symmetric, tmp_path):
    module = packed(llama(), bits, group, symmetric)
    opened(weight_only(module, bits), tmp_path).close()
    model = onnx.load(tmp_path / "model.onnx")
    products = [node for node in model.graph.node if node.op_type == "MatMulNBits"]
    assert len(products) == 10  # queries, keys and values joined, and 4 more, in each of 2 layers
    for node in products:
        (level,) = (a for a in node.attribute if a.name == "accuracy_level")
        assert level.i == 4
        level.i = 1  # activations in float32: only the codes can now make a difference
    onnx.save(model, tmp_path / "exact.onnx")
    exact = OnnxLanguageSession(tmp_path / "exact.onnx", threads=1, device="cpu", arena=False, fusion=True)
    text = tokens(2, 9)
    near(exact.run({"input_ids": text}), own_logits(module, text), 1e-4)


def test_few_bit_weights_are_not_widened_on_disk(tmp_path):
    module = packed(llama(), 4, 16, symmetric=False)
    opened(weight_only(module, 4), tmp_path).close()
    weights = [t for t in graph_of(tmp_path).initializer if t.name.endswith("weight_packed")]
    halves = sum(p.numel() for n, p in llama().named_parameters() if "_proj" in n)
    assert sum(len(t.raw_data) for t in weights) == halves / 2


def constants_of(folder):
    import openvino

    model = openvino.Core().read_model(folder / "openvino_model.xml")
    return model, [op for op in model.get_ops() if op.get_type_name() == "Constant"]


@pytest.mark.parametrize(
    ("bits", "group", "symmetric"), [(4, 16, True), (3, 8, False), (4, 0, False), (8, 0, True)]
)
def test_openvino_model_holds_the_given_codes(bits, group, symmetric, tmp_path):
    module = packed(llama(), bits, group, symmetric)
    opened(weight_only(module, bits, "openvino"), tmp_path).close()
    model, constants = constants_of(tmp_path)
    codes = [c for c in constants if c.get_element_type().get_type_name() == ("u8" if bits == 8 else "u4")]
    assert len(codes) == 28  # codes and zero points of 7 layers in each of 2 blocks
    model.set_rt_info("0", ["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"])
    exact = OpenVinoLanguageSession(model, threads=1, device="cpu", hint="LATENCY", fusion=True)
    text = tokens(2, 9)
    near(exact.run({"input_ids": text}), own_logits(module, text), 1e-4)


def test_groups_below_the_operator_s_blocks_are_refused_with_their_layer():
    support = registry.get("runtimes", "onnxruntime").supports(
        weight_only(packed(llama(), 4, 8, symmetric=True), 4)
    )
    assert not support and "q_proj: 8" in support.reason.en and "q_proj: 8" in support.reason.zh


@BOTH
def test_few_bit_layers_of_a_classifier_run_too(runtime, tmp_path):
    subject = tiny_classifier()
    module = packed(subject.module, 4, 16, symmetric=False, left="classifier")
    subject = replace(subject, module=module, runtime=runtime, numerics=Numerics("int4-weight-only"))
    write(subject, tmp_path / "a", recipe=Recipe(), examples=tiny_texts(4))
    assert verify(tmp_path / "a").ok


@pytest.mark.parametrize("asked", [False, True])
def test_a_tied_table_is_stored_once_unless_the_head_is_quantised(asked, tmp_path):
    module = qwen2()
    opened(subject_of(module, "onnxruntime"), tmp_path).close()
    table = module.get_input_embeddings().weight.shape
    shapes = [tuple(t.dims) for t in graph_of(tmp_path).initializer]
    assert shapes.count(table) == 1 and table[::-1] not in shapes

    numerics = Numerics("int8-dynamic", {"quantize_head": asked})
    opened(subject_of(module, "onnxruntime", numerics), tmp_path).close()
    narrow = [t for t in graph_of(tmp_path).initializer if tuple(t.dims) == table[::-1]]
    assert [t.data_type for t in narrow] == ([onnx.TensorProto.INT8] if asked else [])


@BOTH
@pytest.mark.parametrize("options", [{}, {"quantize_head": True}, {"group_size": 32}])
def test_int8_stays_near_float_and_is_not_float(runtime, options, tmp_path):
    module = qwen2()
    session = opened(subject_of(module, runtime, Numerics("int8-dynamic", options)), tmp_path)
    text = tokens(2, 12)
    own = own_logits(module, text)
    away = np.abs(session.run({"input_ids": text}) - own).max()
    assert 0 < away < 0.2 * np.abs(own).max()


def test_a_model_that_answers_garbage_is_refused(tmp_path):
    own, other = llama(seed=0), llama(seed=1)
    session = opened(subject_of(other, "onnxruntime"), tmp_path)
    refuse_garbage(subject_of(other, "onnxruntime"), session)
    with pytest.raises(ModelError, match="garbage") as caught:
        refuse_garbage(subject_of(own, "onnxruntime"), session)
    assert "nats" in caught.value.got and "reduce_range" in caught.value.next_step


@BOTH
@pytest.mark.parametrize("scheme", ["fp32", "int8-dynamic", "int4-weight-only"])
def test_the_artefact_is_proven_in_a_fresh_process_without_tiku(runtime, scheme, tmp_path):
    subject = replace(tiny_language_model(), runtime=runtime, numerics=Numerics(scheme))
    if scheme == "int4-weight-only":
        subject = replace(subject, module=packed(subject.module, 4, 16, symmetric=False))
    manifest = write(subject, tmp_path / "a", recipe=Recipe(), examples=tiny_texts(6))
    report = verify(tmp_path / "a")
    assert report.ok and report.without_tiku, report
    assert manifest.check["max_abs_diff_to_module"] > 0


def test_weights_that_do_not_fit_one_file_lie_beside_the_graph(tmp_path, monkeypatch):
    monkeypatch.setattr(_onnx_graph, "_ONE_FILE", 1000)
    for scheme in ("fp32", "int8-dynamic"):
        subject = replace(tiny_language_model(), runtime="onnxruntime", numerics=Numerics(scheme))
        write(subject, tmp_path / scheme, recipe=Recipe(), examples=tiny_texts(6))
        assert (tmp_path / scheme / "model" / "model.onnx.data").stat().st_size > 20_000
        assert verify(tmp_path / scheme).ok
