# ruff: noqa: E501 - one row per case reads as a table
"""Models that are missing, damaged, dangerous, or of another kind than the data."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.badinput.refusal import Case, Home, case, check, exam, table
from tests.command import run, run_process


def _broken(home: Home, harm: Callable[[Path], object], model: str = "model") -> list[object]:
    """`tiku exam` on the good model after some harm."""
    harm(home.path / model)
    return exam("reviews.csv", model=model) if model == "model" else exam(_prose(home), model=model)


def _prose(home: Home) -> str:
    return home.write(
        "prose.txt", "\n\n".join(f"The film number {i} was warm and moving." for i in range(200))
    )


def _config(**changes: Any) -> Callable[[Path], object]:
    def harm(folder: Path) -> None:
        path = folder / "config.json"
        value = {**json.loads(path.read_text(encoding="utf-8")), **changes}
        value = {key: v for key, v in value.items() if v is not None}
        path.write_text(json.dumps(value), encoding="utf-8")

    return harm


def _weights(harm: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    def on_file(folder: Path) -> None:
        path = folder / "model.safetensors"
        path.write_bytes(harm(path.read_bytes()))

    return on_file


def _tensors(harm: Callable[[dict[str, Any]], None]) -> Callable[[Path], object]:
    def on_file(folder: Path) -> None:
        from safetensors.numpy import load_file, save_file

        path = folder / "model.safetensors"
        tensors = load_file(path)
        harm(tensors)
        save_file(tensors, path, metadata={"format": "pt"})

    return on_file


def _poison(tensors: dict[str, Any]) -> None:
    tensors["classifier.weight"][0, 0] = float("nan")


def _narrow(tensors: dict[str, Any]) -> None:
    name = "bert.embeddings.word_embeddings.weight"
    tensors[name] = tensors[name][:, :16].copy()


def _drop_layer(tensors: dict[str, Any]) -> None:
    del tensors["bert.encoder.layer.0.output.dense.weight"]


def _add_layer(tensors: dict[str, Any]) -> None:
    tensors["bert.encoder.layer.7.output.dense.weight"] = tensors[
        "bert.encoder.layer.0.output.dense.weight"
    ].copy()


def _lie(content: bytes) -> bytes:
    return struct.pack("<Q", 2**40) + content[8:]


def _to_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n(S'echo run'\ntR.")


def _index(weight_map: dict[str, str]) -> Callable[[Path], object]:
    def harm(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        index = folder / "model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": weight_map}), encoding="utf-8")

    return harm


def _no_tokenizer(folder: Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()


def _large_ids(folder: Path) -> None:
    path = folder / "tokenizer.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    value["model"]["vocab"]["extra"] = 5000
    path.write_text(json.dumps(value), encoding="utf-8")


def _module(home: Home, source: str, name: str = "build") -> list[object]:
    """A module of the user's own under a fresh name, so that no import is remembered."""
    module = f"own_{home.path.name}"
    home.write(f"{module}.py", source)
    return exam("reviews.csv", model=f"{module}:{name}")


def _gguf(home: Home, content: bytes) -> list[object]:
    return exam(_prose(home), model=home.write("bad.gguf", content))


def _cut_gguf(home: Home) -> list[object]:
    """A whole GGUF file with one tensor, then without the end of it."""
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(home.path / "bad.gguf", "llama")
    writer.add_tensor("token_embd.weight", np.zeros((64, 32), dtype=np.float32))
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        step()
    writer.close()
    return _gguf(home, (home.path / "bad.gguf").read_bytes()[:-1000])


_REMOTE = {"AutoConfig": "configuration.Mine", "AutoModelForSequenceClassification": "modeling.Mine"}

CASES = [
    case("missing folder", lambda h: exam("reviews.csv", model="modle"), "no model at this path", "did you mean model?"),
    case("empty name", lambda h: exam("reviews.csv", model=""), "is empty", "model ''"),
    case("name too long", lambda h: exam("reviews.csv", model="m" * 5000), "File name too long"),
    case("home of nobody", lambda h: exam("reviews.csv", model="~nobody-here/model"), "no model at this path"),
    case("empty folder", lambda h: (h.path / "none").mkdir() or exam("reviews.csv", model="none"), "no config.json", "none: empty"),
    case("a file", lambda h: exam("reviews.csv", model="reviews.csv"), "a model is a folder, and this is a file"),
    case("data sample as model", lambda h: exam("reviews.csv", model="sample:wiki"), "this sample is data, not a model"),
    case("mistyped sample", lambda h: exam("reviews.csv", model="sample:minilmm"), "did you mean minilm?"),
    case("no config", lambda h: _broken(h, lambda m: (m / "config.json").unlink()), "no config.json"),
    case("config is no JSON", lambda h: _broken(h, lambda m: (m / "config.json").write_text("{")), "config.json is not valid JSON"),
    case("config is a list", lambda h: _broken(h, lambda m: (m / "config.json").write_text("[]")), "which architecture"),
    case("no model_type", lambda h: _broken(h, _config(model_type=None)), "which architecture", "model_type is None"),
    case("unknown model_type", lambda h: _broken(h, _config(model_type="brt")), "does not know this architecture", "'brt'"),
    case("remote code", lambda h: _broken(h, _config(model_type="mine", auto_map=_REMOTE)), "runs no remote code", "module:function"),
    case("heads that do not divide", lambda h: _broken(h, _config(num_attention_heads=5)), "transformers"),
    case("negative width", lambda h: _broken(h, _config(hidden_size=-1)), "transformers"),
    case("width as text", lambda h: _broken(h, _config(hidden_size="wide")), "transformers"),
    case("labels with a gap", lambda h: _broken(h, _config(id2label={"0": "bad", "2": "good"})), "does not number the labels"),
    case("another width than the weights", lambda h: _broken(h, _config(hidden_size=64)), "do not have the shapes", "config.json"),
    case("more layers than the weights", lambda h: _broken(h, _config(num_hidden_layers=2)), "weights are missing", "layer.1"),
    case("no weights", lambda h: _broken(h, lambda m: (m / "model.safetensors").unlink()), "holds no weights", "save_pretrained"),
    case("weights cut", lambda h: _broken(h, _weights(lambda b: b[: len(b) // 2])), "the weight file is damaged", "SHA-256"),
    case("weights empty", lambda h: _broken(h, _weights(lambda b: b"")), "the weight file is damaged", "0 bytes"),
    case("header length lies", lambda h: _broken(h, _weights(_lie)), "the weight file is damaged"),
    case("header is garbage", lambda h: _broken(h, _weights(lambda b: b[:8] + b"\xff" * (len(b) - 8))), "the weight file is damaged"),
    case("wrong shape", lambda h: _broken(h, _tensors(_narrow)), "do not have the shapes", "word_embeddings"),
    case("weights of a layer missing", lambda h: _broken(h, _tensors(_drop_layer)), "weights are missing", "layer.0.output.dense.weight"),
    case("a layer too much", lambda h: _broken(h, _tensors(_add_layer)), "no place", "layer.7"),
    case("NaN", lambda h: _broken(h, _tensors(_poison)), "not finite", "classifier.weight"),
    case("pickle only", lambda h: _broken(h, _to_pickle), "a pickle", "pytorch_model.bin", "safetensors"),
    case("index leads outside", lambda h: _broken(h, _index({"a": "../model.safetensors"})), "outside the folder", "distrust this model"),
    case("index names a pickle", lambda h: _broken(h, _index({"a": "pytorch_model.bin"})), "not in safetensors"),
    case("part missing", lambda h: _broken(h, _index({"a": "model-00001-of-00002.safetensors"})), "are missing", "model-00001"),
    case("index is garbage", lambda h: _broken(h, lambda m: [_index({})(m), (m / "model.safetensors.index.json").write_text("{")]), "index of the weight files cannot be read"),
    case("no tokenizer", lambda h: _broken(h, _no_tokenizer), "has no tokenizer", "tokenizer.save_pretrained"),
    case("tokenizer is garbage", lambda h: _broken(h, lambda m: (m / "tokenizer.json").write_text("{}")), "tokenizer"),
    case("tokenizer of another model", lambda h: _broken(h, _large_ids), "does not belong to this model", "5000"),
    case("encoder on prose", lambda h: exam(_prose(h)), "an encoder", "--label COLUMN"),
    case("unknown task for the model", lambda h: exam("reviews.csv", "--task", "image-classification"), "cannot serve the task image-classification"),
    case("no GGUF", lambda h: exam(_prose(h), model="nowhere.gguf"), "no GGUF file at this path"),
    case("GGUF is a web page", lambda h: _gguf(h, b"<html>404</html>"), "not a GGUF file", "a saved error page"),
    case("GGUF cut in its header", lambda h: _gguf(h, b"GGUF\x03\x00\x00\x00"), "damaged or cut short", "8 bytes"),
    case("GGUF with counts that lie", lambda h: _gguf(h, b"GGUF" + struct.pack("<IQQ", 3, 2**40, 2**40)), "damaged or cut short"),
    case("GGUF cut in its weights", _cut_gguf, "damaged or cut short"),
    case("GGUF empty", lambda h: _gguf(h, b""), "not a GGUF file"),
    case("GGUF to classify", lambda h: exam("reviews.csv", model=h.write("bad.gguf", b"GGUF")), "cannot serve the task", "causal-lm"),
    case("no such module", lambda h: exam("reviews.csv", model="no_such_module_here:build"), "no Python module of this name"),
    case("module raises", lambda h: _module(h, "raise RuntimeError('no GPU here')"), "importing the module failed", "no GPU here"),
    case("module exits", lambda h: _module(h, "import sys\nsys.exit('bye')"), "importing the module failed", "bye"),
    case("module does not parse", lambda h: _module(h, "def build(:"), "importing the module failed", "SyntaxError"),
    case("no such function", lambda h: _module(h, "def build():\n    pass\n", "biuld"), "no function of this name", "did you mean build?"),
    case("function raises", lambda h: _module(h, "def build():\n    return {}['weights']\n"), "raised an error", "KeyError: 'weights'"),
    case("function exits", lambda h: _module(h, "def build():\n    raise SystemExit(0)\n"), "raised an error", "SystemExit"),
    case("function returns nothing", lambda h: _module(h, "def build():\n    pass\n"), "cannot be examined", "NoneType"),
    case("function returns a network alone", lambda h: _module(h, "import torch\ndef build():\n    return torch.nn.Linear(2, 2)\n"), "cannot be examined", "(module, processor)"),
    case("function returns no network", lambda h: _module(h, "def build():\n    return 'a', 'b'\n"), "cannot be examined"),
]  # fmt: skip


@table(CASES)
def test_models_that_cannot_be_examined_are_refused(
    home: Home, row: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(home.path))
    check(home, row)


def test_weights_behind_a_link_are_read_because_the_hub_cache_is_made_of_links(home: Home) -> None:
    shutil.move(home.path / "model" / "model.safetensors", home.path / "weights.safetensors")
    os.symlink(home.path / "weights.safetensors", home.path / "model" / "model.safetensors")

    told = run("apply", "base.yaml", "model", "--data", "reviews.csv", "--out", "built", "-q")
    assert told.code == 0, told.err


def test_hub_id_without_network_says_where_to_download_it(home: Home) -> None:
    told = run_process("exam", "nobody-at-all/no-model", "--data", "reviews.csv", cwd=home.path)
    assert told.code == 2 and "Traceback" not in told.err and told.out == ""
    assert "the model hub cannot be reached" in told.err and "  got: nobody-at-all/no-model" in told.err
    assert "  next: download the model where there is a network" in told.err


def test_remote_code_in_a_model_folder_is_never_run(home: Home) -> None:
    marker = home.path / "ran"
    for name in ("configuration", "modeling", "tokenization"):
        home.write(f"model/{name}.py", f"open({str(marker)!r}, 'w').close()\n")
    _config(auto_map=_REMOTE)(home.path / "model")
    told = run("apply", "base.yaml", "model", "--data", "reviews.csv", "--out", "built", "-q")
    assert told.code == 0, "the architecture is known, so the folder's own code is not needed"
    assert not marker.exists()
