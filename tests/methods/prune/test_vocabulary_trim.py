"""Fewer tokens: the data are read as before, everything else still can be."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
import transformers

from tests.methods.prune import subjects
from tiku.core import registry
from tiku.core.errors import DataError
from tiku.core.subject import Numerics
from tiku.methods.prune.vocabulary_trim import VocabularyTrim
from tiku.testing import check_method, tiny_classifier

DATA = subjects.CORPUS[:2]
OTHER = "unreadable newspapers written by the writers of letters"
TOKENIZERS = {
    "WordPiece": subjects.word_piece,
    "byte BPE": subjects.byte_bpe,
    "BPE with suffix": subjects.suffix_bpe,
    "Unigram": subjects.unigram,
}


@pytest.fixture(params=TOKENIZERS, scope="module")
def tokenizer(request):
    return TOKENIZERS[request.param]()


def _trimmed(subject, tmp_path, texts=DATA, **config):
    return VocabularyTrim(**config).apply(subject, subjects.context_of(texts, tmp_path))


def test_texts_of_the_data_give_the_same_tokens_and_the_same_logits(tokenizer, tmp_path):
    subject = subjects.classifier(tokenizer)
    small = _trimmed(subject, tmp_path)
    assert len(small.processor) < len(tokenizer)
    assert small.module.get_input_embeddings().weight.shape[0] == len(small.processor)
    for text in DATA:
        assert small.processor.tokenize(text) == tokenizer.tokenize(text)
        assert torch.equal(subjects.logits(small, text), subjects.logits(subject, text))


def test_other_texts_of_the_same_letters_are_spelled_without_an_unknown_token(tokenizer, tmp_path):
    small = _trimmed(subjects.classifier(tokenizer), tmp_path).processor
    whole, spelled = tokenizer.encode(OTHER), small.encode(OTHER)
    assert tokenizer.unk_token_id not in whole and small.unk_token_id not in spelled
    assert len(spelled) > len(whole)
    read = [t.decode(i, skip_special_tokens=True) for t, i in ((small, spelled), (tokenizer, whole))]
    assert read[0] == read[1]


def test_any_string_comes_back_from_trimmed_byte_level_tokens(tmp_path):
    small = _trimmed(subjects.classifier(subjects.byte_bpe()), tmp_path).processor
    draw = random.Random(1)
    ranges = [(32, 126), (0x4E00, 0x4EFF), (0x1F600, 0x1F640), (0x400, 0x4FF), (9, 10)]
    for _ in range(200):
        text = "".join(chr(draw.randint(*draw.choice(ranges))) for _ in range(12))
        ids = small.encode(text, add_special_tokens=False)
        assert small.decode(ids, clean_up_tokenization_spaces=False) == text


def test_random_words_are_never_unknown_where_they_were_known(tmp_path):
    tokenizer = subjects.word_piece()
    small = _trimmed(subjects.classifier(tokenizer), tmp_path, texts=["a low river"]).processor
    draw, letters = random.Random(2), sorted({c for text in subjects.CORPUS for c in text if c.isalpha()})
    words = ["".join(draw.choices(letters, k=draw.randint(1, 9))) for _ in range(500)]
    known = [w for w in words if tokenizer.unk_token_id not in tokenizer.encode(w)]
    assert len(known) > 100
    assert all(small.unk_token_id not in small.encode(w) for w in known)


@pytest.mark.parametrize("tied", [True, False])
def test_language_model_keeps_the_logits_of_the_tokens_that_stayed(tokenizer, tied, tmp_path):
    subject = subjects.language_model(tokenizer, tied=tied)
    small = _trimmed(subject, tmp_path)
    embedding, head = small.module.get_input_embeddings(), small.module.get_output_embeddings()
    assert (embedding.weight is head.weight) == tied
    kept = [
        tokenizer.convert_tokens_to_ids(t)
        for t in small.processor.convert_ids_to_tokens(range(len(small.processor)))
    ]
    before = subjects.logits(subject, DATA[0])[..., kept]
    assert torch.allclose(subjects.logits(small, DATA[0]), before, atol=1e-5)


def test_saved_folder_loads_with_plain_transformers_and_answers_the_same(tokenizer, tmp_path):
    small = _trimmed(subjects.language_model(tokenizer), tmp_path)
    registry.get("models", small.family).save(small, tmp_path / "out")
    plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    again = replace(
        small, module=plain, processor=transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    )
    assert again.processor.get_vocab() == small.processor.get_vocab()
    for text in (*DATA, OTHER):
        assert torch.equal(subjects.logits(again, text), subjects.logits(small, text))
    assert plain.config.eos_token_id == small.processor.eos_token_id
    assert plain.config.vocab_size == len(small.processor)


def test_special_tokens_stay_though_no_text_holds_them(tokenizer, tmp_path):
    tokenizer.add_special_tokens({"additional_special_tokens": ["<tool>"]})
    small = _trimmed(subjects.classifier(tokenizer), tmp_path)
    assert set(subjects.SPECIAL) | {"<tool>"} <= set(small.processor.get_vocab())
    assert small.processor.tokenize("low <tool> river").count("<tool>") == 1
    assert small.module.config.pad_token_id == small.processor.pad_token_id


def test_what_new_texts_lose_shows_on_validation_which_is_not_read(tmp_path):
    subject = subjects.classifier(subjects.word_piece())
    context = subjects.context_of(DATA, tmp_path)
    (seen,) = context.splits
    unseen = subjects.context_of([OTHER], tmp_path).splits[0].validation
    apart = replace(context, splits=(replace(seen, validation=unseen),))
    alone, beside = (VocabularyTrim().apply(subject, one).processor for one in (context, apart))
    assert alone.get_vocab() == beside.get_vocab()


def test_rare_tokens_are_cut_and_spelled_out_when_asked(tmp_path):
    tokenizer = subjects.word_piece()
    subject, texts = subjects.classifier(tokenizer), ["low river"] * 4 + ["newspapers"]
    all_kept, frequent = (_trimmed(subject, tmp_path, texts, least_count=n) for n in (1, 6))
    assert len(frequent.processor) < len(all_kept.processor)
    assert frequent.processor.tokenize("low river") == tokenizer.tokenize("low river")
    assert len(frequent.processor.tokenize("newspapers")) > len(tokenizer.tokenize("newspapers"))


def test_a_count_that_no_token_reaches_leaves_letters_and_added_tokens(tmp_path):
    small = _trimmed(subjects.classifier(subjects.word_piece()), tmp_path, least_count=10**6)
    letters = {token.removeprefix("##") for token in small.processor.get_vocab()} - set(subjects.SPECIAL)
    assert letters and all(len(token) == 1 for token in letters)
    assert small.processor.tokenize("low") == ["l", "##o", "##w"]


@pytest.mark.parametrize("make", [subjects.classifier, subjects.language_model])
def test_contract_holds_for_a_tokenizer_that_can_be_rebuilt(make, tmp_path):
    check_method(VocabularyTrim, make(subjects.byte_bpe()), subjects.context_of(DATA, tmp_path))


def test_what_cannot_be_trimmed_is_refused_with_the_reason():
    words = VocabularyTrim().supports(tiny_classifier())
    assert not words and "WordLevel" in words.reason.en
    subject = subjects.classifier(subjects.word_piece())
    for other, reason in (
        (replace(subject, numerics=Numerics("int8-dynamic")), "int8-dynamic"),
        (replace(subject, module=torch.nn.Linear(2, 2)), "transformers"),
        (replace(subject, processor=object()), "tokenizer.json"),
    ):
        support = VocabularyTrim().supports(other)
        assert not support and reason in support.reason.en


def test_without_texts_it_says_so(tmp_path):
    subject = subjects.classifier(subjects.word_piece())
    with pytest.raises(DataError, match="no texts"):
        VocabularyTrim().apply(subject, subjects.context_of(DATA, tmp_path, empty=True))
