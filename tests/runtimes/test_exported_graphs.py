"""What the exported graphs hold, read back with onnx and openvino themselves."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import onnx
import openvino
import pytest
import torch
from onnx import numpy_helper

from tiku.core import registry
from tiku.core.errors import ArtefactError, ModelError
from tiku.core.subject import Numerics
from tiku.runtimes._openvino_int8 import compress


def _build(subject, runtime, folder, **options):
    numerics = Numerics("int8-dynamic", options) if options else Numerics()
    subject = replace(subject, runtime=runtime, numerics=numerics)
    registry.get("runtimes", runtime).save(subject, folder)
    return folder


def _open(runtime, folder, **options):
    return registry.get("runtimes", runtime).open(
        folder, task="text-classification", options=options, threads=1, device="cpu"
    )


def _openvino_layers(widths):
    layers = torch.nn.Sequential(*(torch.nn.Linear(a, b) for a, b in pairwise((*widths, 2))))
    example = torch.zeros(3, widths[0])
    return openvino.convert_model(
        layers, example_input=example, input=[openvino.PartialShape([-1, widths[0]])]
    )


def _batch(rows, tokens, seed=0):
    ids = np.random.default_rng(seed).integers(4, 24, size=(rows, tokens))
    mask = np.ones_like(ids)
    mask[1:, tokens // 2 + 1 :] = 0
    return {"input_ids": ids, "token_type_ids": np.zeros_like(ids), "attention_mask": mask}


def _by_transformers(subject, batch):
    with torch.inference_mode():
        return subject.module(**{name: torch.from_numpy(a) for name, a in batch.items()}).logits.numpy()


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_float_graph_is_right_at_shapes_it_was_not_traced_with(classifier, runtime, tmp_path):
    session = _open(runtime, _build(classifier, runtime, tmp_path))
    for rows, tokens in [(1, 1), (1, 40), (7, 3), (33, 48)]:
        batch = _batch(rows, tokens)
        np.testing.assert_allclose(session.run(batch), _by_transformers(classifier, batch), atol=2e-5)
    session.close()


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("group", [None, 32])
def test_int8_stays_near_float_and_is_not_float(classifier, runtime, group, tmp_path):
    session = _open(runtime, _build(classifier, runtime, tmp_path, group_size=group))
    batch = _batch(16, 12)
    exact, rough = _by_transformers(classifier, batch), session.run(batch)
    away = np.abs(exact - rough).max()
    assert 0 < away < 0.15 * np.abs(exact).max()
    session.close()


class TestOnnx:
    def _graph(self, subject, folder, **options):
        return onnx.load(_build(subject, "onnxruntime", folder, **options) / "model.onnx").graph

    def test_inputs_carry_the_names_of_the_processor_and_free_sizes(self, classifier, tmp_path):
        graph = self._graph(classifier, tmp_path)
        encoded = registry.get("models", classifier.family).encode(classifier.processor, ["good"], None)
        assert [node.name for node in graph.input] == list(encoded[0])
        assert [node.name for node in graph.output] == ["logits"]
        for node in graph.input:
            assert [d.dim_param for d in node.type.tensor_type.shape.dim] == ["batch", "tokens"]

    def test_head_stays_float_unless_asked(self, classifier, tmp_path):
        for asked in (False, True):
            (tmp_path / str(asked)).mkdir()
            graph = self._graph(classifier, tmp_path / str(asked), quantize_head=asked)
            products = [n for n in graph.node if any("classifier.weight" in name for name in n.input[:2])]
            heads = {n.op_type for n in products if "MatMul" in n.op_type}
            assert heads == ({"MatMulInteger"} if asked else {"MatMul"})

    def test_embeddings_stay_float_unless_asked(self, classifier, tmp_path):
        for asked in (False, True):
            (tmp_path / str(asked)).mkdir()
            graph = self._graph(classifier, tmp_path / str(asked), quantize_embeddings=asked)
            words = [t for t in graph.initializer if "word_embeddings" in t.name]
            assert words
            kept_float = any(
                t.data_type == onnx.TensorProto.FLOAT and tuple(t.dims) == (24, 32) for t in words
            )
            assert kept_float is not asked

    def test_reduced_range_uses_seven_bits_and_each_channel_has_its_scale(self, classifier, tmp_path):
        graph = self._graph(classifier, tmp_path, reduce_range=True, per_channel=True)
        weights = [
            numpy_helper.to_array(t) for t in graph.initializer if t.data_type == onnx.TensorProto.INT8
        ]
        matrices = [w for w in weights if w.ndim == 2]
        assert matrices and all(np.abs(w.astype(int)).max() <= 64 for w in matrices)
        scales = [t for t in graph.initializer if t.name.endswith("_scale") and list(t.dims) == [32]]
        assert scales

    def test_groups_become_block_products(self, classifier, tmp_path):
        graph = self._graph(classifier, tmp_path, group_size=32)
        blocks = [n for n in graph.node if n.op_type == "MatMulNBits"]
        settings = [{a.name: a.i for a in n.attribute} for n in blocks]
        assert blocks
        assert all(s["bits"] == 8 and s["block_size"] == 32 and s["accuracy_level"] == 4 for s in settings)

    def test_int8_weights_take_a_quarter_of_the_bytes(self, classifier, tmp_path):
        # weight bytes are counted, since in a model this small the graph itself is larger
        folder = _build(classifier, "onnxruntime", tmp_path, quantize_head=True, quantize_embeddings=True)
        graph = onnx.load(folder / "model.onnx").graph
        matrices = [t for t in graph.initializer if len(t.dims) == 2 and min(t.dims) > 2]
        assert matrices and all(
            t.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8) for t in matrices
        )

    def test_damaged_graph_is_an_artefact_error(self, classifier, tmp_path):
        path = _build(classifier, "onnxruntime", tmp_path) / "model.onnx"
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ArtefactError, match="cannot open this graph"):
            _open("onnxruntime", tmp_path)


class TestOpenVino:
    def _constants(self, folder):
        import openvino

        model = openvino.Core().read_model(folder / "openvino_model.xml")
        return model, [op for op in model.get_ops() if op.get_type_name() == "Constant"]

    def _types(self, constants):
        matrices = [c for c in constants if len(c.shape) == 2 and min(c.shape) > 2]
        return {c.get_element_type().get_type_name() for c in matrices}

    def test_float_weights_are_not_halved_on_disk(self, classifier, tmp_path):
        _, constants = self._constants(_build(classifier, "openvino", tmp_path))
        assert self._types(constants) == {"f32"}

    def test_int8_weights_lie_in_bytes_and_embeddings_stay_float_unless_asked(self, classifier, tmp_path):
        for asked, expected in ((False, {"u8", "f32"}), (True, {"u8"})):
            (tmp_path / str(asked)).mkdir()
            folder = _build(classifier, "openvino", tmp_path / str(asked), quantize_embeddings=asked)
            assert self._types(self._constants(folder)[1]) == expected

    def test_group_of_the_activations_is_written_into_the_model(self, classifier, tmp_path):
        model, _ = self._constants(_build(classifier, "openvino", tmp_path, group_size=128))
        group = model.get_rt_info(["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"])
        assert int(group.astype(str)) == 128

    @pytest.mark.parametrize(("widths", "group"), [((128, 384), 128), ((128, 320), 64), ((64, 128), 64)])
    def test_activations_share_the_largest_group_that_divides_every_layer(self, widths, group):
        compressed = compress(_openvino_layers(widths), {"quantize_head": True})
        found = compressed.get_rt_info(["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"])
        assert int(found.astype(str)) == group

    def test_one_scale_per_tensor_is_refused_with_the_reason(self, classifier):
        subject = replace(classifier, numerics=Numerics("int8-dynamic", {"per_channel": False}))
        support = registry.get("runtimes", "openvino").supports(subject)
        assert not support and "per channel" in support.reason.en and "按通道" in support.reason.zh

    def test_missing_weights_are_an_artefact_error(self, classifier, tmp_path):
        (_build(classifier, "openvino", tmp_path) / "openvino_model.bin").unlink()
        with pytest.raises(ArtefactError, match="cannot open this model"):
            _open("openvino", tmp_path)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_module_that_cannot_be_traced_is_a_model_error(classifier, runtime, tmp_path):
    class Stubborn(torch.nn.Module):
        def forward(self, **inputs):
            raise RuntimeError("this network looks at values")

    with pytest.raises(ModelError, match="cannot be traced") as caught:
        _build(replace(classifier, module=Stubborn()), runtime, tmp_path)
    assert "torch" in caught.value.next_step


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_device_without_a_provider_is_refused(classifier, runtime, tmp_path):
    folder = _build(classifier, runtime, tmp_path)
    with pytest.raises(ArtefactError) as caught:
        registry.get("runtimes", runtime).open(
            folder, task="text-classification", options={}, threads=1, device="cuda"
        )
    assert caught.value.got == "cuda"


def test_export_leaves_the_attention_of_the_module_as_it_was(classifier, tmp_path):
    before = classifier.module.config._attn_implementation
    _build(classifier, "onnxruntime", tmp_path)
    assert classifier.module.config._attn_implementation == before
