"""Refusals for packages and compilers that are not there name what to install."""

import importlib.util
from dataclasses import replace

import pytest

from tiku.core import registry
from tiku.core.errors import ArtefactError, MissingExtra
from tiku.core.subject import Numerics


@pytest.fixture
def without(monkeypatch):
    find = importlib.util.find_spec

    def hide(*names):
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *rest: None if name in names else find(name, *rest)
        )

    return hide


@pytest.mark.parametrize(
    ("runtime", "package", "line"),
    [
        ("onnxruntime", "onnxruntime", "pip install 'tiku[onnx]'"),
        ("onnxruntime", "onnx", "pip install 'tiku[onnx]'"),
        ("openvino", "openvino", "pip install 'tiku[openvino]'"),
        ("llama-cpp", "llama_cpp", "pip install 'tiku[llama]'"),
    ],
)
def test_missing_package_is_a_refusal_with_the_line_that_installs_it(
    classifier, without, runtime, package, line
):
    without(package)
    support = registry.get("runtimes", runtime).supports(replace(classifier, runtime=runtime))
    assert not support and line in support.reason.en and line in support.reason.zh
    assert package in support.reason.en


def test_openvino_needs_nncf_for_int8_only(classifier, without):
    without("nncf")
    runtime = registry.get("runtimes", "openvino")
    assert runtime.supports(classifier)
    support = runtime.supports(replace(classifier, numerics=Numerics("int8-dynamic")))
    assert not support and "nncf" in support.reason.en


@pytest.mark.parametrize(
    ("runtime", "package"),
    [("onnxruntime", "onnxruntime"), ("openvino", "openvino"), ("llama-cpp", "llama_cpp")],
)
def test_opening_without_the_package_is_a_missing_extra(without, runtime, package, tmp_path):
    without(package)
    with pytest.raises(MissingExtra) as caught:
        registry.get("runtimes", runtime).open(
            tmp_path, task="text-classification", options={}, threads=1, device="cpu"
        )
    assert "pip install" in caught.value.next_step


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_method_of_a_missing_extra_proposes_no_trial(without, name):
    from tiku.core.method import Situation

    situation = Situation("text-classification", "text-classification", "cpu", 1)
    method = registry.get("methods", name)
    assert len(method.candidates(situation)) == 1
    without(name)
    assert method.candidates(situation) == ()


def test_torch_compile_without_a_compiler_is_refused(classifier, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    support = registry.get("runtimes", "torch-compile").supports(classifier)
    assert not support and "C++ compiler" in support.reason.en and "g++" in support.reason.zh


def test_torch_compile_without_python_headers_is_refused(classifier, monkeypatch, tmp_path):
    import sysconfig

    compiler = tmp_path / "g++"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    support = registry.get("runtimes", "torch-compile").supports(classifier)
    assert not support and "Python.h" in support.reason.en


def test_torch_refuses_int8_and_names_the_runtimes_that_have_it(classifier):
    subject = replace(classifier, numerics=Numerics("int8-dynamic"))
    for name in ("torch", "torch-compile"):
        support = registry.get("runtimes", name).supports(subject)
        assert not support and "onnxruntime" in support.reason.en and "pickle" in support.reason.zh


def test_compilation_that_fails_is_an_artefact_error(classifier, monkeypatch, tmp_path):
    runtime = registry.get("runtimes", "torch-compile")
    runtime.save(classifier, tmp_path)
    monkeypatch.setenv("CXX", "/nonexistent/compiler")
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("/nonexistent/compiler",))
    monkeypatch.setattr("torch._inductor.config.fx_graph_cache", False)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    options = {"inputs": ["input_ids", "attention_mask", "token_type_ids"], "warmup": [[2, 9]]}
    with pytest.raises(ArtefactError, match="cannot compile") as caught:
        runtime.open(tmp_path, task="text-classification", options=options, threads=1, device="cpu")
    assert "torch" in caught.value.next_step
