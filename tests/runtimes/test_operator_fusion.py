"""Operator fusion on and off: the same answers, from other kernels, as the runtimes themselves tell."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest

from tiku.core import registry
from tiku.core.method import Situation
from tiku.runtimes.onnxruntime import session_settings
from tiku.testing.tiny import tiny_texts

RUNTIMES = ["onnxruntime", "openvino"]


@pytest.fixture(scope="module", params=RUNTIMES)
def built(request, classifier, tmp_path_factory):
    """(runtime, folder) of the built classifier."""
    folder = tmp_path_factory.mktemp(request.param)
    runtime = registry.get("runtimes", request.param)
    runtime.save(replace(classifier, runtime=request.param), folder)
    return runtime, folder


def _batch(classifier):
    family = registry.get("models", classifier.family)
    return family.collate(classifier.processor, family.encode(classifier.processor, tiny_texts(9), None))


def _open(built, **options):
    runtime, folder = built
    return runtime.open(folder, task="text-classification", options=options, threads=1, device="cpu")


def _kernels(built, session, fusion, scratch):
    """The operators that are executed, by name."""
    runtime, folder = built
    if runtime.name == "openvino":
        executed = session._request.get_compiled_model().get_runtime_model().get_ops()
        return {op.get_rt_info()["layerType"].astype(str) for op in executed}
    settings = session_settings(threads=1, arena=False, fusion=fusion)
    settings.optimized_model_filepath = str(scratch / "executed.onnx")
    onnxruntime.InferenceSession(str(folder / "model.onnx"), settings, providers=["CPUExecutionProvider"])
    return {node.op_type for node in onnx.load(scratch / "executed.onnx").graph.node}


def test_fused_kernels_run_with_the_switch_on_and_none_with_it_off(built, tmp_path):
    made_by_fusing = {"onnxruntime": {"BiasGelu", "FusedMatMul"}, "openvino": {"Subgraph"}}[built[0].name]
    on = _kernels(built, _open(built), True, tmp_path)
    off = _kernels(built, _open(built, fusion=False), False, tmp_path)
    assert made_by_fusing <= on
    assert not made_by_fusing & off


def test_the_switch_leaves_the_answers_alone(built, classifier):
    batch = _batch(classifier)
    fused, single = _open(built, fusion=True).run(batch), _open(built, fusion=False).run(batch)
    np.testing.assert_allclose(fused, single, atol=1e-5)


@pytest.mark.parametrize("fusion", [True, False])
def test_what_the_readme_prints_opens_it_with_the_same_switch(built, classifier, fusion):
    runtime, folder = built
    names = {}
    source = runtime.standalone(
        task="text-classification", family=classifier.family, options={"fusion": fusion},
        numerics=classifier.numerics,
    )  # fmt: skip
    exec(source, names)
    batch = _batch(classifier)
    alone = names["forward"](names["open_model"](str(folder)), batch)
    np.testing.assert_allclose(alone, _open(built, fusion=fusion).run(batch), atol=1e-6)
    switches = ("ORT_ENABLE_BASIC", "SNIPPETS_MODE")
    assert any(word in source for word in switches) is not fusion


@pytest.mark.parametrize("name", RUNTIMES)
def test_the_unfused_graph_is_tried_only_where_there_is_time(name):
    method = registry.get("methods", name)
    asked = {
        budget: [
            c.fusion for c in method.candidates(Situation("text-classification", "", "cpu", 1, budget=budget))
        ]
        for budget in ("quick", "standard", "thorough")
    }
    assert asked == {"quick": [True], "standard": [True], "thorough": [True, False]}


def test_openvino_comes_unfused_first_where_texts_are_short():
    def first(**facts):
        situation = Situation("text-classification", "", "cpu", 1, budget="standard", facts=facts)
        return [c.fusion for c in registry.get("methods", "openvino").candidates(situation)]

    assert first(mean_tokens=27.3) == [False]
    assert first(mean_tokens=200.0) == first() == [True]
