"""Every registered runtime, family and instrument keeps its contract."""

import pytest

from tiku.core import registry
from tiku.testing import (
    check_family,
    check_instrument,
    check_runtime,
    tiny_classifier,
    tiny_language_model,
    tiny_texts,
)

_SLOW = {"torch-compile"}  # compiles C++ for each opening


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if n in _SLOW else []) for n in registry.names("runtimes")],
)
@pytest.mark.parametrize("make", [tiny_classifier, tiny_language_model])
def test_runtime_computes_what_the_module_computes_or_refuses_with_a_reason(name, make, tmp_path):
    check_runtime(registry.get("runtimes", name), make(), tmp_path)


@pytest.mark.parametrize("name", ["text-classification", "causal-lm"])
def test_transformers_family_loads_encodes_and_saves(name, tmp_path):
    family = registry.get("models", name)
    make = {"text-classification": tiny_classifier, "causal-lm": tiny_language_model}[name]
    source, workdir = tmp_path / "source", tmp_path / "work"
    workdir.mkdir()
    family.save(make(), source)
    check_family(family, str(source), tiny_texts(6), workdir)


def _own_module():
    subject = tiny_classifier()
    return subject.module, subject.processor


def test_family_of_own_modules_keeps_the_contract(tmp_path):
    check_family(registry.get("models", "torch-module"), f"{__name__}:_own_module", tiny_texts(6), tmp_path)


def test_every_family_is_covered_above():
    assert set(registry.names("models")) == {"text-classification", "causal-lm", "torch-module"}


@pytest.mark.parametrize("name", registry.names("metrics"))
def test_instrument_declares_sane_metrics(name):
    check_instrument(registry.get("metrics", name))


def test_no_two_instruments_measure_a_metric_of_the_same_name():
    seen = [m.name for name in registry.names("metrics") for m in registry.get("metrics", name).metrics]
    assert len(seen) == len(set(seen))
