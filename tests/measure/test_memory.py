"""Memory of processes that use a known amount, and of a fresh process that serves an artefact."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tiku.artefact import write
from tiku.core.errors import CannotMeasure
from tiku.core.recipe import Recipe
from tiku.core.subject import Subject
from tiku.measure.memory import MemoryUse, probe, read_inputs, write_inputs
from tiku.testing import tiny_classifier, tiny_language_model, tiny_texts

MEGA = 1_000_000
linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")

_ALLOCATES = """
from tiku.measure.memory import peak_bytes, reset_peak, resident_bytes
start = resident_bytes()
held = bytearray(120_000_000)  # zeroed pages are touched only here
held[::4096] = b"x" * len(held[::4096])
with_it, peak = resident_bytes(), peak_bytes()
del held
after, reset = resident_bytes(), reset_peak()
print(with_it - start, peak - start, after - start, peak_bytes() - start, int(reset))
"""


@linux
def test_a_process_that_takes_120_megabytes_and_gives_them_back_is_seen_to_do_so() -> None:
    done = subprocess.run([sys.executable, "-c", _ALLOCATES], capture_output=True, text=True, check=True)
    grown, peak, after, new_peak, reset = map(int, done.stdout.split())
    assert 119 * MEGA < grown < 126 * MEGA
    assert peak >= grown
    assert after < 6 * MEGA
    if reset:  # the kernel lets a process start a new peak
        assert new_peak < 8 * MEGA


def build(subject: Subject, folder: Path) -> Path:
    write(subject, folder, recipe=Recipe(), examples=tiny_texts(4))
    return folder


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tiny_classifier(), tmp_path_factory.mktemp("memory") / "tiny")


@pytest.fixture(scope="module")
def large_artefact(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The same kind of model with 60 MB of layers, every one of them used, and its bytes."""
    from transformers import BertConfig, BertForSequenceClassification

    subject = tiny_classifier()
    config = BertConfig(
        vocab_size=subject.module.config.vocab_size, hidden_size=512, num_hidden_layers=5,
        num_attention_heads=4, intermediate_size=2048, max_position_embeddings=48,
    )  # fmt: skip
    module = BertForSequenceClassification(config).eval()
    size = sum(4 * weights.numel() for weights in module.parameters())
    folder = tmp_path_factory.mktemp("memory") / "large"
    return build(replace(subject, module=module), folder), size


@linux
def test_memory_is_told_apart_into_libraries_weights_and_activations(
    artefact: Path, large_artefact: tuple[Path, int]
) -> None:
    longest = " ".join(["film"] * 40)
    asked = ((artefact, 1), (artefact, 32), (large_artefact[0], 1))
    with ThreadPoolExecutor(2) as pool:
        one, many, large = pool.map(lambda job: probe(job[0], [longest] * job[1], threads=1), asked)
    # a reader may hold a layer twice for a moment, and memory comes in pages
    assert large.weights - one.weights == pytest.approx(large_artefact[1], rel=0.25)
    assert large.libraries == pytest.approx(one.libraries, abs=25 * MEGA)
    assert many.activations > one.activations
    # The tiny model's weights are a few kilobytes; its code, 120 MB of it, counts as libraries.
    assert one.weights + one.activations < 60 * MEGA
    for use in (one, many, large):
        assert use.libraries > 50 * MEGA  # torch alone is more
        assert use.peak >= use.libraries + use.weights
        parts = use.libraries + use.weights + use.activations + use.load_transient
        assert parts == pytest.approx(use.peak, abs=30 * MEGA)  # up to what was freed in between
        assert use.gpu_allocated is None and use.gpu_reserved is None


def test_a_language_model_is_probed_while_it_continues_a_prompt(tmp_path: Path) -> None:
    folder = build(tiny_language_model(), tmp_path / "language")
    use = probe(folder, [" ".join(tiny_texts(10))], context=32, decode_tokens=4, threads=1)
    assert isinstance(use, MemoryUse) and use.peak > use.libraries > 0


def test_a_probe_that_fails_tells_the_childs_own_last_words(tmp_path: Path) -> None:
    with pytest.raises(CannotMeasure, match="failed") as caught:
        probe(tmp_path / "no-such-artefact", ["a text"])
    assert "no-such-artefact" in caught.value.parts()["got"]


def test_a_probe_that_does_not_finish_is_ended_and_says_so(artefact: Path) -> None:
    with pytest.raises(CannotMeasure, match="did not finish"):
        probe(artefact, ["a text"], timeout_s=0.05)


def test_inputs_come_back_from_the_file_as_they_went_in(tmp_path: Path) -> None:
    texts = ["plain", 'quotes " and \\ and ünïcödé 中文', ""]
    assert list(read_inputs(write_inputs(texts, tmp_path))) == texts
    pairs = [("a", "b"), ("c", "d")]
    assert list(read_inputs(write_inputs(pairs, tmp_path))) == pairs
    images = [np.arange(6, dtype=np.float32).reshape(2, 3) + i for i in range(3)]
    back = read_inputs(write_inputs(images, tmp_path))
    assert all(np.array_equal(a, b) for a, b in zip(images, back, strict=True))
