"""Weight files: hashes that know contents alone, shards, damage, pickles, links."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.models.architectures import (
    config,
    logits,
    texts,
    tokenizer,
    write_body,
    write_classifier,
    write_language_model,
)
from tiku.core import registry
from tiku.core.errors import ModelError

FAMILY = registry.get("models", "text-classification")


@pytest.fixture
def folder(tmp_path):
    return write_classifier(tmp_path / "model", "bert")


def _load(folder, tmp_path):
    return FAMILY.load(str(folder), cache=tmp_path)


def _change(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


class TestFingerprint:
    def test_touching_copying_and_renaming_change_nothing(self, folder, tmp_path):
        before = FAMILY.fingerprint(str(folder))
        os.utime(folder / "model.safetensors", (1, 1))
        shutil.copytree(folder, tmp_path / "elsewhere")
        (tmp_path / "elsewhere" / "training_args.json").write_text("{}")
        assert FAMILY.fingerprint(str(folder)) == FAMILY.fingerprint(str(tmp_path / "elsewhere")) == before

    @pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json"])
    def test_config_and_tokenizer_count(self, folder, file):
        before = FAMILY.fingerprint(str(folder))
        content = (folder / file).read_text()
        (folder / file).write_text(content + " ")
        assert FAMILY.fingerprint(str(folder)) != before

    def test_one_bit_of_one_weight_counts(self, folder):
        before = FAMILY.fingerprint(str(folder))
        path = folder / "model.safetensors"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        assert FAMILY.fingerprint(str(folder)) != before


class TestShards:
    def _sharded(self, folder):
        made = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
        (folder / "model.safetensors").unlink()
        made.save_pretrained(folder, max_shard_size="20KB")
        assert len(list(folder.glob("model-*.safetensors"))) > 2
        return folder

    def test_shards_are_the_same_model(self, folder, tmp_path):
        whole = logits(FAMILY, _load(folder, tmp_path), texts(4))
        sharded = _load(self._sharded(folder), tmp_path)
        np.testing.assert_array_equal(logits(FAMILY, sharded, texts(4)), whole)
        assert sharded.facts["stored_dtypes"] == ["F32"]

    def test_a_change_in_any_shard_changes_the_fingerprint(self, folder):
        before = FAMILY.fingerprint(str(self._sharded(folder)))
        for shard in folder.glob("model-*.safetensors"):
            content = shard.read_bytes()
            shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
            assert FAMILY.fingerprint(str(folder)) != before
            shard.write_bytes(content)

    def test_a_missing_shard_is_named(self, folder, tmp_path):
        gone = sorted(self._sharded(folder).glob("model-*.safetensors"))[1]
        gone.unlink()
        with pytest.raises(ModelError, match="are missing") as caught:
            _load(folder, tmp_path)
        assert gone.name in caught.value.got

    @pytest.mark.parametrize(
        "name", ["../other.safetensors", "/etc/passwd", "pytorch_model.bin", "a/b.safetensors"]
    )
    def test_an_index_that_leads_elsewhere_is_refused(self, folder, tmp_path, name):
        index = self._sharded(folder) / "model.safetensors.index.json"
        content = json.loads(index.read_text())
        content["weight_map"] = dict.fromkeys(content["weight_map"], name)
        index.write_text(json.dumps(content))
        with pytest.raises(ModelError, match="outside the folder or not in safetensors"):
            _load(folder, tmp_path)


class TestDamage:
    def test_a_cut_file_is_refused(self, folder, tmp_path):
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(ModelError, match="damaged"):
            _load(folder, tmp_path)

    def test_weights_of_another_shape_are_refused_by_name(self, folder, tmp_path):
        declared = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**declared, "intermediate_size": 64}))
        with pytest.raises(ModelError, match=r"shapes that config\.json describes") as caught:
            _load(folder, tmp_path)
        assert "intermediate" in caught.value.got

    def test_a_layer_too_few_or_too_many_is_refused(self, folder, tmp_path):
        declared = json.loads((folder / "config.json").read_text())
        for layers, what in ((3, "only training can give"), (1, "config.json has no place")):
            (folder / "config.json").write_text(json.dumps({**declared, "num_hidden_layers": layers}))
            with pytest.raises(ModelError, match=what):
                _load(folder, tmp_path)

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_weights_that_are_not_finite_are_refused_by_name(self, folder, tmp_path, value):
        def spoil(weights):
            weights["bert.encoder.layer.1.output.dense.weight"][3, 5] = value

        _change(folder, spoil)
        with pytest.raises(ModelError, match="not finite") as caught:
            _load(folder, tmp_path)
        assert "layer.1.output.dense.weight" in caught.value.got

    def test_a_tokenizer_of_another_model_is_refused(self, folder, tmp_path):
        core = json.loads((folder / "tokenizer.json").read_text())
        core["model"]["vocab"]["beyond"] = 24
        (folder / "tokenizer.json").write_text(json.dumps(core))
        with pytest.raises(ModelError, match="does not belong to this model") as caught:
            _load(folder, tmp_path)
        assert "24" in caught.value.got

    def test_a_folder_without_tokenizer_is_refused(self, folder, tmp_path):
        for file in folder.glob("tokenizer*"):
            file.unlink()
        with pytest.raises(ModelError, match="no tokenizer"):
            _load(folder, tmp_path)


class _Evil:
    def __reduce__(self):
        return os.system, ("touch executed",)


class TestSafety:
    def test_a_pickle_is_refused_and_never_read(self, folder, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (folder / "model.safetensors").unlink()
        torch.save({"x": _Evil()}, folder / "pytorch_model.bin")
        with pytest.raises(ModelError, match="pickle") as caught:
            _load(folder, tmp_path)
        assert "pytorch_model.bin" in caught.value.got and not (tmp_path / "executed").exists()

    def test_a_pickle_beside_safetensors_is_left_alone(self, folder, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
            torch.save({"x": _Evil()}, folder / name)
        assert _load(folder, tmp_path).facts["head"] == "kept"
        assert not (tmp_path / "executed").exists()

    @pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
    def test_code_that_comes_with_a_model_is_never_run(self, folder, tmp_path, file):
        (folder / "mine.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\nraise SystemExit")
        names = {
            f"Auto{kind}": f"mine.{kind}" for kind in ("Config", "Model", "ModelForSequenceClassification")
        }
        names["AutoTokenizer"] = ["mine.Tokenizer", "mine.Tokenizer"]
        declared = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**declared, "auto_map": names}))
        try:
            _load(folder, tmp_path)
        except ModelError as error:
            assert error.next_step
        assert not (tmp_path / "executed").exists()

    def test_an_architecture_of_its_own_is_refused_with_the_way_around(self, folder, tmp_path):
        declared = json.loads((folder / "config.json").read_text())
        own = {**declared, "model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}
        (folder / "config.json").write_text(json.dumps(own))
        with pytest.raises(ModelError, match="runs no remote code") as caught:
            _load(folder, tmp_path)
        assert "module:function" in caught.value.next_step

    def test_the_cache_of_the_hub_is_links_and_is_read(self, folder, tmp_path):
        cache = tmp_path / "snapshot"
        cache.mkdir()
        for number, file in enumerate(folder.iterdir()):
            blob = tmp_path / f"blob{number}"
            shutil.copy(file, blob)
            (cache / file.name).symlink_to(blob)
        linked = _load(cache, tmp_path)
        expected = logits(FAMILY, _load(folder, tmp_path), texts(3))
        np.testing.assert_array_equal(logits(FAMILY, linked, texts(3)), expected)
        assert FAMILY.fingerprint(str(cache)) == FAMILY.fingerprint(str(folder))

    def test_a_module_of_sentence_transformers_outside_the_folder_is_not_followed(self, tmp_path):
        write_body(tmp_path / "secret", "bert")
        (tmp_path / "st").mkdir()
        (tmp_path / "st" / "modules.json").write_text('[{"path": "../secret"}]')
        assert not FAMILY.recognises(str(tmp_path / "st"))


class TestTokenizer:
    def test_text_is_split_as_tokenizer_json_says_whatever_the_architecture(self, tmp_path):
        # transformers 5 reads every Qwen2 folder with Qwen's own way of splitting, and drops these words
        folder = write_language_model(tmp_path / "m", "qwen2")
        family = registry.get("models", "causal-lm")
        subject = family.load(str(folder), cache=tmp_path)
        assert family.encode(subject.processor, ["a good film"], None)[0]["input_ids"] == [5, 16, 6]
        family.save_processor(subject, tmp_path / "processor")
        again = family.load_processor(tmp_path / "processor")
        assert family.encode(again, ["a good film"], None)[0]["input_ids"] == [5, 16, 6]

    def test_lower_case_of_the_config_overrules_the_file(self, tmp_path):
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "film"]
        (tmp_path / "vocab.txt").write_text("\n".join(words))
        made = transformers.BertTokenizer(vocab=str(tmp_path / "vocab.txt"), do_lower_case=True)
        folder = tmp_path / "m"
        made.save_pretrained(folder)
        config("bert").save_pretrained(folder)
        subject = FAMILY.load_processor(folder)
        assert FAMILY.encode(subject, ["GOOD Film"], None)[0]["input_ids"] == [2, 5, 6, 3]
        assert tokenizer()("GOOD Film")["input_ids"] == [2, 1, 1, 3]
