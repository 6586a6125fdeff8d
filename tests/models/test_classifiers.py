"""Every architecture as a text classifier: head kept or new, padding, pairs, saving, against transformers."""

import numpy as np
import pytest
import torch
import transformers

from tests.models.architectures import (
    DECODERS,
    ENCODER_DECODERS,
    ENCODERS,
    LIMIT,
    logits,
    texts,
    tokenizer,
    write_body,
    write_classifier,
)
from tiku.core import registry
from tiku.core.errors import ModelError

FAMILY = registry.get("models", "text-classification")
KINDS = [*ENCODERS, *ENCODER_DECODERS, *DECODERS]


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tmp_path_factory):
    return write_classifier(tmp_path_factory.mktemp(request.param) / "model", request.param)


def _load(folder, tmp_path, labels=(), seed=0):
    return FAMILY.load(str(folder), labels=labels, cache=tmp_path, seed=seed)


class TestEveryArchitecture:
    def test_answers_are_those_of_transformers_text_by_text(self, folder, tmp_path):
        subject = _load(folder, tmp_path)
        plain = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
        own = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
        words = texts(6)
        with torch.inference_mode():
            alone = [
                plain(**own([t], truncation=True, max_length=LIMIT, return_tensors="pt")).logits
                if not plain.config.is_encoder_decoder or plain.config.model_type != "t5"
                else _t5(plain, own, t)
                for t in words
            ]
        np.testing.assert_allclose(logits(FAMILY, subject, words), np.concatenate(alone), atol=3e-5)
        assert subject.facts["padding_noise"] < 1e-3
        assert np.ptp(np.concatenate(alone), axis=0).max() > 1e-3  # the answers do depend on the text

    def test_own_labels_in_another_order_turn_the_rows(self, folder, tmp_path):
        subject, turned = _load(folder, tmp_path), _load(folder, tmp_path, ("c", "a", "b"))
        assert (subject.labels, turned.labels) == (("a", "b", "c"), ("c", "a", "b"))
        assert subject.facts["head"] == turned.facts["head"] == "kept"
        words = texts(4)
        expected = logits(FAMILY, subject, words)[:, [2, 0, 1]]
        np.testing.assert_allclose(logits(FAMILY, turned, words), expected, atol=1e-6)

    def test_saved_and_loaded_again_it_answers_the_same(self, folder, tmp_path):
        subject = _load(folder, tmp_path, ("b", "c", "a"))
        FAMILY.save(subject, tmp_path / "saved")
        again = _load(tmp_path / "saved", tmp_path)
        assert again.labels == ("b", "c", "a") and again.facts["head"] == "kept"
        words = texts(5)
        np.testing.assert_array_equal(logits(FAMILY, again, words), logits(FAMILY, subject, words))

    def test_texts_beyond_the_limit_are_cut_and_pairs_fit(self, folder, tmp_path):
        subject = _load(folder, tmp_path)
        long, pair = " ".join(["good"] * 200), ("a good film", " ".join(["bad"] * 200))
        assert logits(FAMILY, subject, [long]).shape == (1, 3)
        assert logits(FAMILY, subject, [pair, ("it", "was")]).shape == (2, 3)
        assert all(len(e["input_ids"]) == LIMIT for e in FAMILY.encode(subject.processor, [long], None))


def _t5(plain, own, text):
    """transformers 5 leaves the start of T5's decoder to the generation config: say it here."""
    plain.config.decoder_start_token_id = 0
    return plain(**own([text], truncation=True, max_length=LIMIT, return_tensors="pt")).logits


@pytest.mark.parametrize("kind", ["bert", "roberta", "albert", "mpnet", "xlnet", "t5", "gpt2", "gemma"])
def test_a_body_gets_a_head_that_the_seed_decides(kind, tmp_path):
    body, words = write_body(tmp_path / "body", kind), texts(4)
    first, again, other = (_load(body, tmp_path, ("no", "yes"), seed) for seed in (1, 1, 2))
    assert first.facts["head"] == "new" and first.labels == ("no", "yes")
    np.testing.assert_array_equal(logits(FAMILY, first, words), logits(FAMILY, again, words))
    assert not np.array_equal(logits(FAMILY, first, words), logits(FAMILY, other, words))
    assert first.module.base_model.get_input_embeddings().weight.equal(
        other.module.base_model.get_input_embeddings().weight
    )


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "electra", "bart", "llama"])
def test_foreign_labels_get_a_new_head_and_the_body_stays(kind, tmp_path):
    folder = write_classifier(tmp_path / "model", kind)
    kept = _load(folder, tmp_path)
    state = torch.random.get_rng_state()
    new, again = (_load(folder, tmp_path, ("x", "y", "z"), seed=5) for _ in range(2))
    assert torch.random.get_rng_state().equal(state)
    assert new.facts["head"] == "new" and "a, b, c" in new.facts["head_reason"]
    for name, weights in kept.module.base_model.state_dict().items():
        assert weights.equal(new.module.base_model.state_dict()[name])
    heads = {n for n in new.module.state_dict() if not n.startswith(new.module.base_model_prefix + ".")}
    assert heads and all(new.module.state_dict()[n].equal(again.module.state_dict()[n]) for n in heads)
    matrices = [n for n in heads if new.module.state_dict()[n].ndim == 2]
    assert not any(new.module.state_dict()[n].equal(kept.module.state_dict()[n]) for n in matrices)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen2"])
def test_a_decoder_without_pad_token_pads_with_its_end_and_answers_the_same(kind, tmp_path):
    padded = _load(write_classifier(tmp_path / "padded", kind), tmp_path)
    folder = write_classifier(tmp_path / "bare", kind, pad_token_id=None)
    tokenizer(pad=False).save_pretrained(folder)
    bare = _load(folder, tmp_path)
    assert bare.processor.pad_token == "[SEP]" and bare.module.config.pad_token_id == 3
    alone = np.concatenate([logits(FAMILY, bare, [text]) for text in texts(5)])
    np.testing.assert_allclose(logits(FAMILY, bare, texts(5)), alone, atol=1e-5)
    FAMILY.save(bare, tmp_path / "saved")
    assert transformers.AutoConfig.from_pretrained(tmp_path / "saved").pad_token_id == 3
    assert padded.processor.pad_token == "[PAD]"


class TestPadding:
    def test_xlnet_reads_its_answer_from_the_end_and_is_padded_on_the_left(self, tmp_path):
        subject = _load(write_classifier(tmp_path / "m", "xlnet"), tmp_path)
        assert subject.facts["padding_side"] == subject.processor.padding_side == "left"
        batch = FAMILY.collate(
            subject.processor, FAMILY.encode(subject.processor, ["good", "a good film"], None)
        )
        assert batch["attention_mask"][0].tolist() == [0, 0, 1, 1, 1]

    @pytest.mark.parametrize("kind", ["bert", "gpt2", "bart"])
    def test_others_are_padded_on_the_right(self, kind, tmp_path):
        folder = write_classifier(tmp_path / "m", kind)
        left = tokenizer()
        left.padding_side = "left"
        left.save_pretrained(folder)
        assert _load(folder, tmp_path).facts["padding_side"] == "right"

    def test_a_network_without_mask_says_how_much_padding_changes(self, tmp_path):
        shape = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48, "pad_token_id": 0}
        made = transformers.FNetForSequenceClassification(transformers.FNetConfig(vocab_size=24, **shape))
        made.save_pretrained(tmp_path / "m")
        tokenizer().save_pretrained(tmp_path / "m")
        assert _load(tmp_path / "m", tmp_path).facts["padding_noise"] > 1e-3


def test_the_limit_is_the_smallest_that_anyone_states(tmp_path):
    folder = write_classifier(tmp_path / "m", "roberta", max_position_embeddings=22)
    assert _load(folder, tmp_path).facts["max_length"] == 21  # RoBERTa counts from the padding on
    tokenizer(limit=15).save_pretrained(folder)
    assert _load(folder, tmp_path).facts["max_length"] == 15
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 9}')
    assert _load(folder, tmp_path).facts["max_length"] == 9


@pytest.mark.parametrize("kind", ["t5", "xlnet"])
def test_a_network_without_limit_reads_long_texts_whole(kind, tmp_path):
    folder = write_classifier(tmp_path / "m", kind)
    tokenizer(limit=int(1e30)).save_pretrained(folder)
    subject = _load(folder, tmp_path)
    assert len(FAMILY.encode(subject.processor, [" ".join(["good"] * 300)], None)[0]["input_ids"]) == 302


def test_stored_half_precision_is_read_as_float32(tmp_path):
    for dtype, stored in ((torch.float16, "F16"), (torch.bfloat16, "BF16")):
        folder = write_classifier(tmp_path / stored, "bert")
        half = transformers.AutoModelForSequenceClassification.from_pretrained(folder, dtype=dtype)
        half.save_pretrained(folder)
        subject = _load(folder, tmp_path)
        assert subject.facts["stored_dtypes"] == [stored]
        assert {p.dtype for p in subject.module.parameters()} == {torch.float32}
        for name, weights in half.state_dict().items():
            assert subject.module.state_dict()[name].equal(
                weights.float() if weights.is_floating_point() else weights
            )


def test_an_architecture_without_classifier_is_refused(tmp_path):
    folder = write_body(tmp_path / "m", "bert")
    config = (folder / "config.json").read_text().replace('"bert"', '"clip"')
    (folder / "config.json").write_text(config)
    with pytest.raises(ModelError) as caught:
        _load(folder, tmp_path)
    assert caught.value.next_step
