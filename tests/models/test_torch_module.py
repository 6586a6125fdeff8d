"""A module of one's own through module:function: built, hashed, saved, and every misuse explained."""

import numpy as np
import pytest
import torch

from tests.models import own_modules
from tests.models.architectures import logits, texts
from tiku.core import registry
from tiku.core.errors import ModelError

FAMILY = registry.get("models", "torch-module")
HERE = "tests.models.own_modules"


def _load(name, labels=(), seed=0):
    return FAMILY.load(f"{HERE}:{name}", labels=labels, cache=None, seed=seed)


def _answers(subject, inputs):
    family = registry.get("models", subject.family)
    batch = family.collate(subject.processor, family.encode(subject.processor, inputs, None))
    with torch.inference_mode():
        output = subject.module(**{name: torch.from_numpy(a) for name, a in batch.items()})
    return getattr(output, "logits", output).float().numpy()


def test_seed_decides_the_weights_and_leaves_the_generator_alone():
    state = torch.random.get_rng_state()
    one, again, other = _load("plain", seed=1), _load("plain", seed=1), _load("plain", seed=2)
    assert torch.random.get_rng_state().equal(state)
    assert one.module.layer.weight.equal(again.module.layer.weight)
    assert not one.module.layer.weight.equal(other.module.layer.weight)
    assert not one.module.training


def test_a_function_that_takes_labels_gets_those_of_the_data():
    subject = _load("with_labels", ("a", "b", "c"))
    assert subject.labels == ("a", "b", "c") and subject.module.layer.out_features == 3
    assert _load("plain", ("a", "b")).labels == ("a", "b")


def test_labels_of_its_own_must_be_those_of_the_data():
    assert _load("named").labels == ("no", "yes") == _load("named", ("no", "yes")).labels
    with pytest.raises(ModelError, match="labels are not the data's") as caught:
        _load("named", ("yes", "no"))
    assert "no, yes" in caught.value.got and caught.value.allowed == "yes, no"


@pytest.mark.parametrize("name", ["plain", "half", "tied", "ready"])
def test_saved_weights_and_processor_come_back(name, tmp_path):
    subject = _load(name, seed=5)
    runtime = registry.get("runtimes", "torch")
    runtime.save(subject, tmp_path / "saved")
    session = runtime.open(
        tmp_path / "saved", task="text-classification", options={}, threads=1, device="cpu"
    )
    processor = FAMILY.load_processor(tmp_path / "saved")
    inputs = ["abba", "a bad face", ""]
    batch = FAMILY.collate(processor, FAMILY.encode(processor, inputs, None))
    np.testing.assert_allclose(session.run(batch), _answers(subject, inputs), atol=1e-6)


def test_what_the_processor_learned_is_kept(tmp_path):
    subject = _load("plain")
    FAMILY.save_processor(subject, tmp_path)
    assert FAMILY.load_processor(tmp_path).scale == 3


class TestFingerprint:
    def test_same_function_same_hash_and_another_another(self):
        prints = {name: FAMILY.fingerprint(f"{HERE}:{name}") for name in ("plain", "named", "half", "tied")}
        assert len(set(prints.values())) == 4
        assert FAMILY.fingerprint(f"{HERE}:plain") == prints["plain"]

    def test_one_weight_counts(self, monkeypatch):
        before = FAMILY.fingerprint(f"{HERE}:plain")

        def changed():
            net, processor = own_modules.Net(2), own_modules.Letters(3)
            net.layer.weight.data[1, 1] += 1e-6
            return net, processor

        monkeypatch.setattr(own_modules, "plain", changed)
        assert FAMILY.fingerprint(f"{HERE}:plain") != before


class TestTransformersModels:
    def test_a_pair_of_model_and_tokenizer_is_a_classifier(self):
        subject = _load("classifier")
        assert (subject.task, subject.family) == ("text-classification", "text-classification")
        assert subject.labels == ("no", "yes") and subject.facts["padding_side"] == "right"
        family = registry.get("models", "text-classification")
        np.testing.assert_array_equal(_answers(subject, texts(3)), logits(family, subject, texts(3)))

    def test_a_pair_of_model_and_tokenizer_is_a_language_model(self):
        subject = _load("language_model")
        assert (subject.task, subject.family) == ("causal-lm", "causal-lm")
        assert subject.processor.pad_token == "[SEP]"

    def test_another_kind_of_model_is_refused(self):
        with pytest.raises(ModelError, match="cannot be examined") as caught:
            _load("masked")
        assert "BertForMaskedLM" in caught.value.got


@pytest.mark.parametrize(
    ("name", "what", "got"),
    [
        ("raises", "raised an error", "ZeroDivisionError: no weights today"),
        ("leaves", "raised an error", "SystemExit"),
        ("returns_nothing", "cannot be examined", "NoneType"),
        ("no_processor", "cannot be examined", "Net"),
        ("no_module", "cannot be examined", "type str"),
        ("no_task", "cannot be examined", "text-clasification"),
        ("no_collate", "cannot be examined", "without collate"),
        ("not_finite", "not finite", "layer.weight"),
        ("plian", "no function of this name", "plian"),
        ("NUMBER", "no function of this name", "NUMBER"),
    ],
)
def test_every_misuse_is_explained(name, what, got):
    with pytest.raises(ModelError, match=what) as caught:
        _load(name)
    assert got in caught.value.got and caught.value.next_step


def test_a_misspelt_name_is_guessed():
    with pytest.raises(ModelError) as caught:
        _load("plian")
    assert "did you mean plain" in caught.value.next_step


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("import nothing_of_this_name", "importing the module failed"),
        ("1 / 0", "importing the module failed"),
    ],
)
def test_a_module_that_cannot_be_imported_is_explained(tmp_path, monkeypatch, code, what):
    (tmp_path / "broken_module_of_a_user.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=what) as caught:
        FAMILY.load("broken_module_of_a_user:build", cache=tmp_path)
    assert "python -c 'import broken_module_of_a_user'" in caught.value.next_step


def test_a_module_that_is_not_there_is_explained(tmp_path):
    with pytest.raises(ModelError, match="no Python module of this name"):
        FAMILY.load("no_module_of_this_name:build", cache=tmp_path)
