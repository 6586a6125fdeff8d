"""Memory foretold from config and header: against closed forms, and against a fresh process."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tests.models import gguf_files
from tiku.artefact import write
from tiku.core.errors import CannotMeasure, ModelError
from tiku.core.recipe import Recipe
from tiku.core.subject import Subject
from tiku.measure import forecast as module_under_test
from tiku.measure.forecast import forecast
from tiku.measure.memory import probe
from tiku.testing import tiny_classifier, tiny_language_model, tiny_texts

linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries' size is another matter, and takes seconds to read."""
    monkeypatch.setattr(module_under_test, "libraries_here", lambda *given: 0)


def saved(subject: Subject, folder: Path, dtype: torch.dtype = torch.float32) -> str:
    subject.module.to(dtype).save_pretrained(folder)
    subject.processor.save_pretrained(folder)
    return str(folder)


def test_a_decoders_cache_is_two_vectors_per_layer_head_and_token(no_process, tmp_path: Path) -> None:
    subject = tiny_language_model()  # 2 layers, 1 key/value head of 16 numbers
    told = forecast(saved(subject, tmp_path), batch=3, tokens=40)
    assert told.cache_per_token == 2 * 2 * 1 * 16 * 4
    assert told.cache == 3 * 40 * told.cache_per_token
    assert told.parameters == sum(p.numel() for p in subject.module.parameters())


def test_weights_are_those_of_the_loaded_module_and_tied_ones_count_once(no_process, tmp_path: Path) -> None:
    config = transformers.LlamaConfig(
        vocab_size=24, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48,
        tie_word_embeddings=True,
    )  # fmt: skip
    subject = replace(tiny_language_model(), module=transformers.LlamaForCausalLM(config))
    told = forecast(saved(subject, tmp_path))
    held = {t.data_ptr(): t.nbytes for t in (*subject.module.parameters(), *subject.module.buffers())}
    assert told.weights == sum(held.values())
    assert told.task == "causal-lm" and told.batch == 1


def test_half_stored_weights_take_twice_their_file_and_the_file_while_loading(no_process, tmp_path) -> None:
    wide = forecast(saved(tiny_classifier(), tmp_path / "wide"))
    half = forecast(saved(tiny_classifier(), tmp_path / "half", torch.bfloat16))
    assert wide.load_transient == 0 and half.weights == wide.weights
    assert wide.file == 2 * half.file == 2 * half.load_transient
    assert half.peak == half.weights + max(half.load_transient, half.activations)


def test_eight_billion_parameters_are_foretold_from_a_header_alone(no_process, tmp_path: Path) -> None:
    """The weights of this file are a hole: whoever reads them would read 16 GB."""
    config = transformers.LlamaConfig(
        vocab_size=128_256, hidden_size=4096, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=8, intermediate_size=14_336, max_position_embeddings=8192,
        architectures=["LlamaForCausalLM"],
    )  # fmt: skip
    config.save_pretrained(tmp_path)
    layer = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14_336 + 2 * 4096
    parameters = 32 * layer + 2 * 128_256 * 4096 + 4096
    header = {"all": {"dtype": "BF16", "shape": [parameters], "data_offsets": [0, 2 * parameters]}}
    text = json.dumps(header).encode()
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + 2 * parameters)
    told = forecast(str(tmp_path), batch=4, tokens=8192)
    assert told.parameters == parameters == 8_030_261_248
    assert told.file == 2 * parameters
    assert told.weights == pytest.approx(4 * parameters, rel=1e-3)  # and the rotary table
    assert told.cache == 4 * 8192 * (2 * 32 * 8 * 128 * 4)
    # at least the widened feed-forward of one layer, at most ten such
    widest = 4 * 8192 * 14_336 * 4
    assert 2 * widest <= told.activations <= 10 * widest


def test_activations_grow_with_the_batch_in_proportion(no_process, tmp_path: Path) -> None:
    folder = saved(tiny_classifier(), tmp_path)
    small, large = (forecast(folder, batch=batch, tokens=40).activations for batch in (16, 64))
    assert large == pytest.approx(4 * small, rel=0.1)


def test_a_gguf_files_size_and_model_are_told_apart(no_process, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    gguf_files.write(path, gguf_files.llama())
    told = forecast(str(path))
    assert told.file < path.stat().st_size and told.weights > 0 and told.load_transient == 0
    assert told.architecture.endswith("ForCausalLM")


def test_what_cannot_be_foretold_is_said(no_process, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="a function must be called"):
        forecast("tests.models.own_modules:plain")
    folder = saved(tiny_classifier(), tmp_path)
    with pytest.raises(ModelError, match="no positions for so many tokens"):
        forecast(folder, tokens=49)
    config = json.loads((tmp_path / "config.json").read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({**config, "quantization_config": {"bits": 4}}))
    with pytest.raises(CannotMeasure, match="few bits"):
        forecast(folder)


def test_the_text_and_the_json_say_the_same_in_both_languages(no_process, tmp_path: Path) -> None:
    told = replace(forecast(saved(tiny_classifier(), tmp_path)), available=1)
    assert not told.fits and told.to_json()["peak"] == told.peak
    english, chinese = told.lines("en"), told.lines("zh")
    assert len(english) == len(chinese) and "does not fit" in english[-1] and "放不下" in chinese[-1]
    assert "fits" in replace(told, available=math.inf).lines("en")[-1]


@linux
def test_the_predicted_peak_is_within_a_quarter_of_a_fresh_process(tmp_path: Path) -> None:
    """60 MB of weights and activations that matter: 64 texts of 46 tokens."""
    config = transformers.BertConfig(
        vocab_size=24, hidden_size=512, num_hidden_layers=5, num_attention_heads=4, intermediate_size=2048,
        max_position_embeddings=48, id2label={0: "bad", 1: "good"}, label2id={"bad": 0, "good": 1},
    )  # fmt: skip
    subject: Any = replace(
        tiny_classifier(), module=transformers.BertForSequenceClassification(config).eval()
    )
    subject = replace(subject, serve=replace(subject.serve, batch_size=64))
    write(subject, tmp_path / "a", recipe=Recipe(), examples=tiny_texts(4))
    told = forecast(str(tmp_path / "a" / "model"), batch=64, tokens=48)
    use = probe(tmp_path / "a", [" ".join(["film"] * 46)] * 64, threads=1)
    assert told.weights > 60e6 and told.activations > 50e6
    assert told.peak / 1.25 <= use.peak <= told.peak * 1.25
    own, predicted = use.peak - told.libraries, told.weights + told.activations
    assert predicted / 2 <= own <= predicted * 2  # without the libraries, which are most of so small a peak
