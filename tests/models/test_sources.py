"""Which family takes a source, and texts to token ids."""

import json

import numpy as np
import pytest

from tests.models.architectures import LIMIT, tokenizer, write_body, write_classifier, write_language_model
from tiku.core import registry
from tiku.core.errors import DataError, ModelError
from tiku.models import resolve
from tiku.models._encoding import collate, encode


class TestResolve:
    @pytest.mark.parametrize(
        ("make", "kind", "family"),
        [
            (write_classifier, "bert", "text-classification"),
            (write_classifier, "gpt2", "text-classification"),
            (write_classifier, "t5", "text-classification"), (write_body, "bert", "text-classification"),
            (write_language_model, "llama", "causal-lm"), (write_language_model, "gpt2", "causal-lm"),
            (write_language_model, "opt", "causal-lm"), (write_language_model, "mamba", "causal-lm"),
        ],
    )  # fmt: skip
    def test_the_saved_architecture_decides(self, make, kind, family, tmp_path):
        assert resolve(str(make(tmp_path / "m", kind))).name == family

    def test_the_task_decides_first(self, tmp_path):
        folder = str(write_language_model(tmp_path / "m", "gpt2"))
        assert resolve(folder, "text-classification").name == "text-classification"
        assert resolve(folder, "causal-lm").name == "causal-lm"

    @pytest.mark.parametrize(("kind", "family"), [("bert", "text-classification"), ("llama", "causal-lm")])
    def test_a_folder_that_states_no_architecture_is_taken_by_its_kind(self, kind, family, tmp_path):
        folder = write_body(tmp_path / "m", kind)
        stated = json.loads((folder / "config.json").read_text())
        stated.pop("architectures", None)
        (folder / "config.json").write_text(json.dumps(stated))
        assert resolve(str(folder)).name == family

    @pytest.mark.parametrize(
        ("source", "family"),
        [("models/some.gguf", "causal-lm"), ("package.module:function", "torch-module")],
    )
    def test_files_and_functions_are_known_by_their_form(self, source, family):
        assert resolve(source).name == family

    def test_older_sentence_transformers_keep_the_network_in_a_subfolder(self, tmp_path):
        write_body(tmp_path / "st" / "0_Transformer", "bert")
        modules = [{"idx": 0, "path": "0_Transformer"}, {"idx": 1, "path": "1_Pooling"}]
        (tmp_path / "st" / "modules.json").write_text(json.dumps(modules))
        family = resolve(str(tmp_path / "st"))
        assert family.load(str(tmp_path / "st"), labels=("a", "b"), cache=tmp_path).facts["head"] == "new"

    @pytest.mark.parametrize(
        ("make", "what"),
        [
            (lambda p: p / "nowhere", "no model at this path"),
            (lambda p: (p / "empty").mkdir() or p / "empty", "no config.json"),
            (lambda p: _config(p, "{"), "not valid JSON"),
            (lambda p: _config(p, "[]"), "does not say which architecture"),
            (lambda p: _config(p, '{"hidden_size": 3}'), "does not say which architecture"),
            (lambda p: (p / "file").write_text("") or p / "file", "and this is a file"),
        ],
    )
    def test_what_is_no_model_is_explained(self, make, what, tmp_path):
        with pytest.raises(ModelError, match=what) as caught:
            resolve(str(make(tmp_path)))
        assert caught.value.next_step

    def test_a_task_that_no_family_serves_is_refused(self, tmp_path):
        with pytest.raises(ModelError, match="cannot serve the task") as caught:
            resolve(str(write_body(tmp_path / "m", "bert")), "text-clasification")
        assert "text-classification" in caught.value.allowed and caught.value.next_step


def _config(folder, content):
    (folder / "config.json").write_text(content)
    return folder


class TestEncoding:
    def test_texts_and_pairs_are_those_of_the_tokenizer(self):
        made = tokenizer()
        assert encode(made, ["a good film"], None)[0]["input_ids"] == [2, 5, 16, 6, 3]
        assert encode(made, [("good", "bad film")], None)[0]["input_ids"] == [2, 16, 3, 17, 6, 3]
        assert encode(made, [["good", "bad"]], None)[0]["input_ids"] == [2, 16, 3, 17, 3]
        assert encode(made, [""], None)[0]["input_ids"] == [2, 3]
        assert encode(made, [], None) == []

    def test_segments_come_along_where_the_network_has_them(self):
        made = tokenizer()
        made.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
        assert encode(made, [("good", "bad film")], None)[0]["token_type_ids"] == [0, 0, 0, 1, 1, 1]

    def test_of_a_pair_the_longer_text_is_cut(self):
        ids = encode(tokenizer(), [("good", "bad " * 100)], 10)[0]["input_ids"]
        assert len(ids) == 10 and ids[:3] == [2, 16, 3] and ids[-1] == 3

    def test_the_asked_limit_never_exceeds_the_models(self):
        for asked, length in ((10, 10), (None, LIMIT), (1000, LIMIT)):
            assert len(encode(tokenizer(), ["good " * 100], asked)[0]["input_ids"]) == length

    def test_many_texts_are_encoded_like_one(self):
        words = [("good " * (i % 7) + "film").strip() for i in range(2500)]
        whole = encode(tokenizer(), words, None)
        assert whole == [encode(tokenizer(), [text], None)[0] for text in words[:7]] * 357 + whole[2499:]

    @pytest.mark.parametrize(
        "inputs",
        [
            [3],
            [None],
            ["a", 3],
            ["a", ("b", "c")],
            [("a", "b"), "c"],
            [("a",)],
            [("a", "b", "c")],
            [("a", 2)],
        ],
    )
    def test_what_is_no_text_is_refused_with_its_place(self, inputs):
        with pytest.raises(DataError, match="not text") as caught:
            encode(tokenizer(), inputs, None)
        assert caught.value.got.startswith("input ")

    @pytest.mark.parametrize(("inputs", "limit"), [(["a"], 2), ([("a", "b")], 4)])
    def test_a_limit_without_room_for_text_is_refused(self, inputs, limit):
        with pytest.raises(ModelError, match="no room for text"):
            encode(tokenizer(), inputs, limit)
        assert len(encode(tokenizer(), inputs, limit + 1)[0]["input_ids"]) == limit + 1

    @pytest.mark.parametrize("side", ["right", "left"])
    def test_batches_are_padded_on_the_tokenizers_side(self, side):
        made = tokenizer()
        made.padding_side = side
        batch = collate(made, encode(made, ["good", "a good film"], None))
        padded = made(["good", "a good film"], padding=True, return_tensors="np")
        for name, array in batch.items():
            np.testing.assert_array_equal(array, padded[name])
            assert array.dtype == np.int64


def test_a_hub_id_is_no_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    family = registry.get("models", "text-classification")
    assert family.recognises("owner/name") and not family.recognises("owner/name/more")
    monkeypatch.chdir(tmp_path)
    write_body(tmp_path / "owner" / "name", "bert")
    assert resolve("owner/name").fingerprint("owner/name") == family.fingerprint(
        str(tmp_path / "owner" / "name")
    )
