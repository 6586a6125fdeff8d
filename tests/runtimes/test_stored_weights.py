"""Torch artefacts whose weight files are halved or entropy coded: the same model, with tiku and without."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.runtimes.test_packed_weights import quantised
from tiku.artefact import load_subject, open_artefact, verify, write
from tiku.core import registry
from tiku.core.errors import ArtefactError, ModelError
from tiku.core.recipe import Recipe
from tiku.core.subject import Subject
from tiku.measure.instruments.size import safetensors_parameters
from tiku.testing import tiny_classifier, tiny_language_model, tiny_texts
from tiku.weightfiles._header import read_header


def tied_language_model() -> Subject:
    subject = tiny_language_model()
    module = copy.deepcopy(subject.module)
    module.config.tie_word_embeddings = True
    module.tie_weights()
    return replace(subject, module=module)


def stored(subject: Subject, folder: Path, **storage: str) -> Path:
    asked = replace(subject, runtime_options={"storage": storage})
    write(asked, folder, recipe=Recipe(), examples=tiny_texts(4))
    return folder


def bits(module: Any) -> dict[str, bytes]:
    return {
        n: t.contiguous().flatten().view(torch.uint8).numpy().tobytes()
        for n, t in module.state_dict().items()
    }


@pytest.mark.parametrize("make", [tiny_classifier, tied_language_model])
def test_compressed_weights_open_to_the_same_bits_with_tiku_and_without(make, tmp_path: Path) -> None:
    subject = make()
    folder = stored(subject, tmp_path / "a", lossless="zlib")
    files = {p.name for p in (folder / "model").glob("*.safetensors")}
    assert files == {"model.lossless.safetensors"}
    assert bits(load_subject(folder).module) == bits(subject.module)
    report = verify(folder)  # a fresh process that has no tiku
    assert report.ok, report
    assert report.without_tiku and report.max_abs_diff == 0.0


_OWN = """
import numpy as np
import torch


class Lengths:
    task = "text-classification"

    def encode(self, inputs, max_length):
        return [{"lengths": [len(text), text.count(" ")]} for text in inputs]

    def collate(self, encodings):
        return {"lengths": np.asarray([e["lengths"] for e in encodings], dtype=np.float32)}


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)
        self.again = self.layer

    def forward(self, lengths):
        return self.again(self.layer(lengths))


def build():
    return Net(), Lengths()
"""


def test_a_module_of_ones_own_with_shared_weights_is_compressed(monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "own_net.py").write_text(_OWN)
    monkeypatch.syspath_prepend(tmp_path)
    subject = registry.get("models", "torch-module").load("own_net:build", cache=tmp_path)
    subject = replace(subject, labels=("bad", "good"))
    folder = stored(subject, tmp_path / "a", lossless="zlib")
    assert bits(load_subject(folder).module) == bits(subject.module)
    report = verify(folder)
    assert report.ok and report.without_tiku, report


def test_few_bit_layers_are_compressed_too(tmp_path: Path) -> None:
    subject = quantised(tiny_language_model(), 4, symmetric=False)
    folder = stored(subject, tmp_path / "a", lossless="zlib")
    assert bits(load_subject(folder).module) == bits(subject.module)
    report = verify(folder)
    assert report.ok, report


def test_half_stored_weights_open_to_the_rounded_bits_with_tiku_and_without(tmp_path: Path) -> None:
    for kind, dtype in (("bf16", torch.bfloat16), ("fp16", torch.float16)):
        subject = tiny_classifier()
        subject = replace(subject, module=copy.deepcopy(subject.module).to(dtype).float())
        for coding in ({}, {"lossless": "zlib"}):
            folder = stored(subject, tmp_path / (kind + coding.get("lossless", "")), half=kind, **coding)
            assert bits(load_subject(folder).module) == bits(subject.module)
    report = verify(tmp_path / "fp16zlib")
    assert report.ok, report


def test_weights_that_do_not_fit_into_half_are_never_rounded_on_the_way_to_disk(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="without rounding"):
        stored(tiny_classifier(), tmp_path / "a", half="bf16")
    assert not (tmp_path / "a").exists()


def test_an_opened_artefact_is_saved_as_it_was_stored(tmp_path: Path) -> None:
    first = stored(tiny_language_model(), tmp_path / "a", lossless="zlib")
    write(load_subject(first), tmp_path / "b", recipe=Recipe(), examples=tiny_texts(4))
    one, other = (
        (tmp_path / name / "model" / "model.lossless.safetensors").read_bytes() for name in ("a", "b")
    )
    assert one == other


def test_weights_in_several_files_are_all_compressed(tmp_path: Path) -> None:
    from tiku.runtimes._storage import read_weights, store

    module = tiny_language_model().module
    module.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    store(tmp_path, {"storage": {"lossless": "zlib"}})
    assert not (tmp_path / "model.safetensors.index.json").exists()
    read = read_weights(tmp_path)
    assert all(torch.equal(module.state_dict()[name], tensor) for name, tensor in read.items())
    assert read.keys() == module.state_dict().keys()


def test_a_damaged_file_is_told_and_no_model_is_opened(tmp_path: Path) -> None:
    folder = stored(tiny_classifier(), tmp_path / "a", lossless="zlib")
    path = folder / "model" / "model.lossless.safetensors"
    content = bytearray(path.read_bytes())
    content[-100] ^= 4
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match="cannot be opened") as caught:
        open_artefact(folder, check_hashes=False)
    assert "damaged" in str(caught.value)


def test_parameters_of_a_compressed_file_are_those_of_its_tensors(tmp_path: Path) -> None:
    subject = tiny_classifier()
    folder = stored(subject, tmp_path / "a", lossless="zlib")
    held = sum(p.numel() for p in subject.module.parameters())
    assert safetensors_parameters(folder / "model" / "model.lossless.safetensors") == held
    assert "pyarrow" in (folder / "README.md").read_text("utf-8")
    assert json.loads((folder / "artefact.json").read_bytes())["runtime_options"]["storage"]


def test_answers_do_not_depend_on_how_weights_are_stored(tmp_path: Path) -> None:
    texts, answers = tiny_texts(6), []
    for number, storage in enumerate([{}, {"lossless": "zlib"}]):
        opened = open_artefact(stored(tiny_classifier(), tmp_path / str(number), **storage), threads=1)
        answers.append(opened.predict(texts))
        opened.close()
    assert np.array_equal(*answers)


def test_masked_weights_in_every_layout_open_to_the_same_bits_with_tiku_and_without(tmp_path: Path) -> None:
    subject = masked_classifier()
    folder = stored(subject, tmp_path / "a", sparse="auto")
    file = folder / "model" / "model.sparse.safetensors"
    layouts = {row[2] for row in json.loads(read_header(file).metadata["tiku.sparse"])["tensors"].values()}
    assert layouts == {"dense", "bitmask", "csr", "block"}
    assert bits(load_subject(folder).module) == bits(subject.module)
    assert verify(folder).ok
    pattern = stored(subject, tmp_path / "b", sparse="two-four")
    assert bits(load_subject(pattern).module) == bits(subject.module)
    report = verify(pattern)
    assert report.ok and report.without_tiku, report


def masked_classifier() -> Subject:
    """Another pattern of zeros in each matrix of the first layer."""
    subject = tiny_classifier()
    module = copy.deepcopy(subject.module)
    layer = module.bert.encoder.layer[0]
    with torch.no_grad():
        layer.attention.self.query.weight[torch.rand(32, 32) < 0.5] = 0
        layer.intermediate.dense.weight[16:] = 0
        layer.output.dense.weight[torch.rand(32, 64) < 0.99] = 0
        layer.attention.self.key.weight.view(-1, 4)[:, 1:3] = 0
    return replace(subject, module=module)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize("storage", [{}, {"half": "bf16"}])
def test_loading_never_holds_more_than_the_weights(storage: dict[str, str], tmp_path: Path) -> None:
    """In a fresh process: plain files are mapped, 16-bit files widened one tensor at a time."""
    subject = tiny_language_model()
    config = LlamaConfig(
        vocab_size=len(subject.processor), hidden_size=512, num_hidden_layers=8, num_attention_heads=4,
        intermediate_size=2048,
    )  # fmt: skip
    module = LlamaForCausalLM(config).bfloat16().float().eval()
    weights = sum(p.nbytes for p in module.parameters())
    folder = stored(replace(subject, module=module), tmp_path / "a", **storage) / "model"
    told = subprocess.run(
        [sys.executable, "-c", _LOADS, str(folder)], capture_output=True, text=True, check=True
    )
    peak, held = map(int, told.stdout.split())
    assert weights > 130_000_000
    assert 0.9 * weights < held <= peak <= 1.05 * weights + 4_000_000  # pages, and the module's own objects


_LOADS = """
import sys
from pathlib import Path
from tiku.measure.memory import peak_bytes, reset_peak, resident_bytes
from transformers import LlamaConfig, LlamaForCausalLM
import torch
from tiku.runtimes._torch_loading import load_module
LlamaForCausalLM(LlamaConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
                             intermediate_size=8))
before = resident_bytes()
reset_peak()
module = load_module(Path(sys.argv[1]), "causal-lm")
for weight in module.parameters():
    weight.sum()
print(peak_bytes() - before, resident_bytes() - before)
"""
