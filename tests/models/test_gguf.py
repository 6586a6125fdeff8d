"""GGUF files made here: read back exactly, converted once, by one process at a time."""

from concurrent.futures import ThreadPoolExecutor

import gguf
import numpy as np
import pytest
import torch

from tests.models.gguf_files import llama, tensors, vocabulary, write
from tiku.core import registry
from tiku.core.errors import ModelError
from tiku.models import _gguf
from tiku.models._gguf import weights_grid

FAMILY = registry.get("models", "causal-lm")
TOKENS = np.asarray([[5, 90, 70, 120, 200, 8, 9, 256, 261, 14]])


def _logits(module):
    with torch.inference_mode():
        return module(input_ids=torch.from_numpy(TOKENS)).logits.numpy()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write(tmp_path_factory.mktemp("gguf") / "model.gguf", llama())


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_float_file_is_the_network_it_was_written_from(file, cache):
    subject = FAMILY.load(str(file), cache=cache)
    np.testing.assert_allclose(_logits(subject.module), _logits(llama()), atol=1e-5)
    assert subject.facts["weights_grid"] == [{"format": "F32", "bits": 32, "block": 1, "share": 1.0}]


def test_tokens_are_those_of_the_merges_in_their_order(file, cache):
    subject = FAMILY.load(str(file), cache=cache)
    ids = FAMILY.encode(subject.processor, ["good film bad"], None)[0]["input_ids"]
    assert [vocabulary()[i] for i in ids] == ["good", "Ġfilm", "Ġ", "bad"]
    assert subject.processor.decode(ids) == "good film bad"
    assert subject.processor.eos_token == "<|end|>"


def test_digits_stand_alone_where_the_file_says_so(tmp_path):
    for pre, expected in (("gpt-2", ["12"]), ("smollm", ["1", "2"])):
        path = write(tmp_path / f"{pre}.gguf", llama(), pre=pre)
        subject = FAMILY.load(str(path), cache=tmp_path)
        ids = FAMILY.encode(subject.processor, ["12"], None)[0]["input_ids"]
        assert [vocabulary()[i] for i in ids] == expected


@pytest.mark.parametrize(("kind", "bits"), [("F16", 16), ("Q8_0", 8), ("Q4_1", 4), ("Q4_0", 4)])
def test_rounded_weights_are_those_that_the_reference_rounds_to(tmp_path, kind, bits):
    network = llama()
    path = write(tmp_path / "m.gguf", network, kind)
    subject = FAMILY.load(str(path), cache=tmp_path)
    wanted = gguf.GGMLQuantizationType[kind]
    rounded = {
        name: gguf.dequantize(gguf.quantize(w, wanted), wanted) for name, w in tensors(network) if w.ndim == 2
    }
    read = dict(tensors(subject.module))
    for name, weights in rounded.items():
        np.testing.assert_allclose(read[name], weights, atol=1e-6)
    first = subject.facts["weights_grid"][0]
    assert (first["format"], first["bits"], first["block"]) == (kind, bits, 32 if kind[0] == "Q" else 1)
    matrices = sum(w.size for w in rounded.values())
    assert first["share"] == pytest.approx(matrices / sum(p.numel() for p in network.parameters()), abs=1e-6)
    assert weights_grid(path) == subject.facts["weights_grid"]


def test_the_conversion_is_kept_by_content_and_not_by_name(file, cache, tmp_path):
    FAMILY.load(str(file), cache=cache)
    made = list((cache / "gguf").glob("*/model.safetensors"))
    before = [path.stat().st_mtime_ns for path in made]
    moved = tmp_path / "other name.gguf"
    moved.write_bytes(file.read_bytes())
    FAMILY.load(str(moved), cache=cache)
    assert [path.stat().st_mtime_ns for path in (cache / "gguf").glob("*/model.safetensors")] == before
    assert FAMILY.fingerprint(str(moved)) == FAMILY.fingerprint(str(file))


def test_those_who_ask_at_once_convert_once(file, tmp_path, monkeypatch):
    # threads exclude each other by the same lock as processes, which the downloads are tested with
    made, convert = [], _gguf._convert
    monkeypatch.setattr(_gguf, "_convert", lambda *given: (made.append(1), convert(*given)))
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: _gguf.converted_folder(str(file), tmp_path)[0], range(4)))
    assert len(made) == 1 and len(set(folders)) == 1
    assert (folders[0] / "model.safetensors").is_file()


def test_a_conversion_that_breaks_off_leaves_no_model(file, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tiku.models._gguf._split_words", stop)
    with pytest.raises(KeyboardInterrupt):
        FAMILY.load(str(file), cache=tmp_path)
    assert not [path for path in (tmp_path / "gguf").iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda b: b"<html>" + b, "not a GGUF file"),
        (lambda b: b[:2000], "damaged or cut short"),
        (lambda b: b[:-1000], "damaged|cannot read"),
        (lambda b: b[:4] + b"\xff" * 20, "damaged or cut short"),
        (lambda b: b"", "not a GGUF file"),
    ],
)
def test_damaged_files_are_refused(file, tmp_path, damage, what):
    path = tmp_path / "bad.gguf"
    path.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ModelError, match=what) as caught:
        FAMILY.load(str(path), cache=tmp_path)
    assert "bad.gguf" in caught.value.got and caught.value.next_step
    assert not list((tmp_path / "gguf").glob("*/model.safetensors"))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no GGUF file"):
        FAMILY.load(str(tmp_path / "none.gguf"), cache=tmp_path)
