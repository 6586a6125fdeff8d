"""Every architecture as a causal language model: loaded, run, continued token by token, saved."""

import numpy as np
import pytest
import torch
import transformers

from tests.models.architectures import DECODERS, RECURRENT, tokenizer, write_classifier, write_language_model
from tiku.core import registry
from tiku.core.errors import CannotMeasure, ModelError

FAMILY = registry.get("models", "causal-lm")
RUNTIME = registry.get("runtimes", "torch")
TOKENS = np.asarray([[5, 9, 7, 12, 20, 8, 9, 11, 6, 14, 15, 13, 10, 9, 5, 7, 8, 20, 21, 6]])


@pytest.fixture(scope="module", params=[*DECODERS, *RECURRENT])
def folder(request, tmp_path_factory):
    return write_language_model(tmp_path_factory.mktemp(request.param) / "model", request.param)


def _session(folder, tmp_path):
    subject = FAMILY.load(str(folder), cache=tmp_path)
    RUNTIME.save(subject, tmp_path / "built")
    return RUNTIME.open(tmp_path / "built", task="causal-lm", options={}, threads=1, device="cpu")


def _by_transformers(folder, tokens):
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        return plain(input_ids=torch.from_numpy(tokens), use_cache=False).logits.numpy()


class TestEveryArchitecture:
    def test_logits_are_those_of_transformers_also_after_saving(self, folder, tmp_path):
        session = _session(folder, tmp_path)
        expected = _by_transformers(folder, TOKENS)
        assert np.ptp(expected, axis=1).max() > 1e-2
        np.testing.assert_allclose(session.run({"input_ids": TOKENS}), expected, atol=1e-4)

    def test_continuing_from_the_cache_in_any_steps_gives_the_same(self, folder, tmp_path):
        session, cache, found = _session(folder, tmp_path), None, []
        for part in np.split(TOKENS, [7, 8, 9, 15], axis=1):
            logits, cache = session.extend(part, cache)
            found.append(logits)
        np.testing.assert_allclose(np.concatenate(found, axis=1), _by_transformers(folder, TOKENS), atol=2e-4)
        last, _ = session.extend(TOKENS, None, last_only=True)
        np.testing.assert_allclose(last, _by_transformers(folder, TOKENS)[:, -1:], atol=2e-4)


def test_a_network_that_hides_its_state_cannot_be_continued(tmp_path):
    shape = {
        "vocab_size": 24, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
        "lru_width": 32, "intermediate_size": 48, "attention_window_size": 16, "head_dim": 8,
        "pad_token_id": 0,
    }  # fmt: skip
    made = transformers.RecurrentGemmaForCausalLM(transformers.RecurrentGemmaConfig(**shape))
    made.save_pretrained(tmp_path / "m")
    tokenizer(frame=False).save_pretrained(tmp_path / "m")
    with pytest.raises(CannotMeasure, match="keeps no key/value cache"):
        _session(tmp_path / "m", tmp_path).extend(TOKENS)


def test_tied_embeddings_stay_one_matrix(tmp_path):
    folder = write_language_model(tmp_path / "m", "llama", tie_word_embeddings=True)
    subject = FAMILY.load(str(folder), cache=tmp_path)
    assert subject.module.lm_head.weight is subject.module.model.embed_tokens.weight
    FAMILY.save(subject, tmp_path / "saved")
    again = FAMILY.load(str(tmp_path / "saved"), cache=tmp_path)
    assert again.module.lm_head.weight is again.module.model.embed_tokens.weight
    assert again.facts["parameters"] == subject.facts["parameters"]


def test_pad_token_that_is_missing_is_the_end_token(tmp_path):
    subject = FAMILY.load(str(write_language_model(tmp_path / "m", "gpt2", pad=False)), cache=tmp_path)
    assert subject.processor.pad_token == "[SEP]" and subject.processor.padding_side == "right"


def test_every_text_is_encoded_without_anything_around_it(tmp_path):
    subject = FAMILY.load(str(write_language_model(tmp_path / "m", "llama")), cache=tmp_path)
    assert FAMILY.encode(subject.processor, ["a good film"], None)[0]["input_ids"] == [5, 16, 6]


@pytest.mark.parametrize("kind", ["bert", "bart", "t5"])
def test_what_cannot_continue_a_text_is_refused(kind, tmp_path):
    folder = write_classifier(tmp_path / "m", kind)
    with pytest.raises(ModelError) as caught:
        FAMILY.load(str(folder), cache=tmp_path)
    assert caught.value.next_step and kind in caught.value.got


def test_a_body_without_its_language_head_is_refused(tmp_path):
    folder = write_language_model(tmp_path / "m", "gpt_neox")
    made = transformers.AutoModelForCausalLM.from_pretrained(folder)
    made.base_model.save_pretrained(folder)
    with pytest.raises(ModelError, match="weights are missing that only training can give") as caught:
        FAMILY.load(str(folder), cache=tmp_path)
    assert "embed_out" in caught.value.got or "lm_head" in caught.value.got
