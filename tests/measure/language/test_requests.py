import pytest

from tiku.core.errors import DataError
from tiku.measure.language.requests import Request, encode_choices, fit, leading_tokens, start_tokens

from .words import byte_level, greedy


def _text(tokenizer, ids):
    return tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)


@pytest.mark.parametrize("bos", [False, True])
def test_context_and_continuation_together_are_the_tokens_of_the_whole_text(bos):
    tokenizer = byte_level(bos=bos)
    contexts = ["Question: what happens to ice\nAnswer:", "the rain 雨 is heavy, it", "x"]
    options = [[" it melts", " water"], [" runs", " 水 flows"], ["y", "xyz"]]
    for context, texts, requests in zip(
        contexts, options, encode_choices(tokenizer, contexts, options), strict=True
    ):
        for text, request in zip(texts, requests, strict=True):
            assert list(request.sequence) == tokenizer(context + text)["input_ids"]
            assert _text(tokenizer, request.continuation) == text


def test_space_at_the_end_of_the_context_belongs_to_the_continuation():
    tokenizer = byte_level()
    (spaced,) = encode_choices(tokenizer, ["Answer: "], [["downhill", "fast"]])
    (tight,) = encode_choices(tokenizer, ["Answer:"], [[" downhill", " fast"]])
    assert spaced == tight
    naive = tokenizer("Answer: ")["input_ids"] + tokenizer("downhill")["input_ids"]
    assert naive != list(spaced[0].sequence)  # two tokenisations glued together are another text


def test_where_a_token_grows_across_the_join_the_options_are_scored_from_the_last_shared_token():
    tokenizer = greedy(("ans", "answ"), bos_token="<s>", eos_token="</s>")
    assert tokenizer.tokenize("the ans") == ["t", "h", "e", " ", "ans"]
    assert tokenizer.tokenize("the answ") == ["t", "h", "e", " ", "answ"]
    ((whole, bare),) = encode_choices(tokenizer, ["the ans"], [["w", "k"]])
    assert tokenizer.convert_ids_to_tokens(list(whole.continuation)) == ["answ"]
    assert tokenizer.convert_ids_to_tokens(list(bare.continuation)) == ["ans", "k"]
    assert whole.context == bare.context  # one point to score from, for all options alike
    assert _text(tokenizer, whole.sequence) == "the answ" and _text(tokenizer, bare.sequence) == "the ansk"


def test_a_context_that_merges_whole_into_the_option_leaves_the_start_token():
    tokenizer = greedy(("ab", "abc"), bos_token="<s>", eos_token="</s>")
    ((request,),) = encode_choices(tokenizer, ["ab"], [["c"]])
    assert request.context == (tokenizer.bos_token_id,)
    assert tokenizer.convert_ids_to_tokens(list(request.continuation)) == ["abc"]


def test_an_empty_context_is_scored_from_the_start_token():
    tokenizer = byte_level()
    ((first, second),) = encode_choices(tokenizer, [""], [["water", "ice"]])
    assert first.context == second.context == (tokenizer.bos_token_id,)
    assert _text(tokenizer, first.continuation) == "water"
    assert start_tokens(greedy(("ab",), eos_token="</s>")) == (1,)


def test_a_tokenizer_without_start_and_end_cannot_score_from_nothing():
    with pytest.raises(DataError, match="without a context"):
        encode_choices(greedy(("ab",)), [""], [["a", "b"]])


def test_leading_tokens_are_those_the_tokenizer_adds_by_itself():
    assert leading_tokens(byte_level(bos=True)) == (0,)
    assert leading_tokens(byte_level()) == ()


def test_an_empty_option_is_refused_with_its_question():
    with pytest.raises(DataError) as caught:
        encode_choices(byte_level(), ["which way?"], [[" up", " "]])
    assert "which way?" in str(caught.value)


def test_too_long_contexts_lose_their_oldest_tokens_and_keep_what_leads():
    request = Request((0, *range(10, 20)), (7, 8))
    (same,), cut = fit([request], limit=12, keep=1)
    assert same == request and cut == 0
    (fitted,), cut = fit([request], limit=6, keep=1)
    assert fitted == Request((0, 16, 17, 18, 19), (7, 8)) and cut == 1
    assert len(fitted.sequence) - 1 == 6  # what is fed: the last token is only predicted


def test_a_continuation_that_does_not_fit_is_refused():
    with pytest.raises(DataError, match="longer than the model's context"):
        fit([Request((0, 1), tuple(range(9)))], limit=8, keep=1)
