import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.measure.instruments.bench import PROTOCOL, bench_of, opened, questions
from tests.measure.language.models import llama
from tests.measure.language.words import byte_level, prose
from tiku.core.errors import CannotMeasure
from tiku.core.hashing import canonical
from tiku.data.prose import Prose
from tiku.measure.instruments.perplexity import INSTRUMENT
from tiku.testing import tiny_language_model

SIZE = len(byte_level())


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return opened(tmp_path_factory.mktemp("model") / "base")


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """The same model with some noise on its weights."""
    module = llama(vocab=SIZE)
    torch.manual_seed(1)
    for weights in module.parameters():
        weights.data += 0.02 * weights.data.std() * torch.randn_like(weights)
    return opened(tmp_path_factory.mktemp("model") / "noisy", module)


def _nats(module, tokenizer, text):
    """All nats of a text that fits one window, by the model's own loss."""
    ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer(text)["input_ids"]]])
    with torch.inference_mode():
        return float(module(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1), ids.shape[1] - 1


def test_perplexity_is_the_exponential_of_the_models_own_loss(model):
    data = prose(6, words=20)
    found = INSTRUMENT.measure(bench_of(model, data))
    both = [_nats(llama(vocab=SIZE), byte_level(), text) for text in data.documents]
    nats, tokens = sum(n for n, _ in both), sum(t for _, t in both)
    size = sum(len(text.encode()) for text in data.documents)
    assert found.metrics["perplexity"].value == pytest.approx(math.exp(nats / tokens), rel=1e-4)
    assert found.metrics["bits_per_byte"].value == pytest.approx(nats / math.log(2) / size, rel=1e-4)
    assert found.metrics["perplexity"].n == tokens and found.metrics["bits_per_byte"].n == size
    assert found.metrics["perplexity"].low < found.metrics["perplexity"].value


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary(tmp_path):
    module = llama(vocab=SIZE)
    module.lm_head.weight.data.zero_()
    found = INSTRUMENT.measure(bench_of(opened(tmp_path / "flat", module), prose(7, words=90)))
    value = found.metrics["perplexity"]
    assert (value.low, value.value, value.high) == pytest.approx((SIZE, SIZE, SIZE), rel=1e-5)


def test_the_protocol_stands_in_details_and_estimator(model):
    found = INSTRUMENT.measure(bench_of(model, prose(6, words=200)))
    protocol, estimator = found.details["protocol"], found.metrics["perplexity"].estimator
    assert (protocol["context"], protocol["stride"], protocol["start"]) == (64, 32, ["<s>"])
    assert protocol["tokens"] == found.metrics["perplexity"].n and protocol["documents"] == 6
    assert protocol["fed_tokens"] > protocol["tokens"] and protocol["path"] == "packed"
    for part in ("64 tokens", "stride 32", "<s> before each document", f"{protocol['tokens']:,} tokens"):
        assert part in estimator
    json.dumps(canonical(found.details), allow_nan=False)


def test_details_show_the_hardest_documents_and_what_context_is_worth(model):
    found = INSTRUMENT.measure(bench_of(model, prose(6, words=200))).details
    hardest = [one["perplexity"] for one in found["documents"]]
    assert hardest == sorted(hardest, reverse=True) and len(hardest) == 6
    passages, texts = found["hardest_passages"], prose(6, words=200).documents
    assert passages[0]["perplexity"] >= passages[1]["perplexity"]
    for one in passages:  # a stretch of some document, and not its beginning, which nobody can know
        assert any(one["text"].removesuffix("…") in text[1:] for text in texts)
    assert sum(one["tokens"] for one in found["by_context"]) == found["protocol"]["tokens"]
    assert found["by_context"][0]["least"] == 1 and found["by_context"][-1]["most"] <= 64


def test_the_same_model_again_is_equivalent_to_itself(model):
    data = prose(6, words=60)
    base = INSTRUMENT.measure(bench_of(model, data))
    found = INSTRUMENT.measure(bench_of(model, data, base=model, base_arrays=base.arrays))
    for name in ("perplexity", "bits_per_byte"):
        comparison = found.against_base[name]
        assert comparison.verdict == "equivalent" and comparison.effect == 1.0
        assert comparison.base == pytest.approx(base.metrics[name].value)


def test_a_candidate_is_compared_document_by_document(model, noisy):
    data = prose(6, words=60)
    base = INSTRUMENT.measure(bench_of(model, data))
    own = INSTRUMENT.measure(bench_of(noisy, data))
    kept = INSTRUMENT.measure(bench_of(noisy, data, base=model, base_arrays=base.arrays))
    fresh = INSTRUMENT.measure(bench_of(noisy, data, base=model))
    assert kept.against_base == fresh.against_base
    comparison = kept.against_base["perplexity"]
    assert comparison.scale == "ratio" and comparison.low < comparison.effect < comparison.high
    ratio = own.metrics["perplexity"].value / base.metrics["perplexity"].value
    assert comparison.effect == pytest.approx(ratio, rel=1e-6)
    alone = own.metrics["perplexity"]
    assert comparison.high / comparison.low < alone.high / alone.low  # what both find hard cancels
    bits = kept.against_base["bits_per_byte"]
    assert bits.effect == pytest.approx(own.metrics["bits_per_byte"].value / bits.base)
    assert kept.details["documents"][0]["base_perplexity"] > 0


def test_one_document_has_an_interval_that_says_what_it_is_about(model):
    found = INSTRUMENT.measure(bench_of(model, prose(1, words=900)))
    value = found.metrics["perplexity"]
    assert value.low < value.value < value.high
    assert "blocks" in value.estimator and "not for others" in value.estimator
    assert found.details["protocol"]["units"] == "blocks"


def test_a_text_of_a_few_words_has_a_value_and_no_interval(model):
    data = prose(1, words=9)
    base = INSTRUMENT.measure(bench_of(model, data))
    assert base.metrics["perplexity"].low is None and "no interval" in base.metrics["perplexity"].estimator
    found = INSTRUMENT.measure(bench_of(model, data, base=model, base_arrays=base.arrays))
    assert not found.against_base and "too short" in found.warnings[0].en


def test_passages_that_were_cut_for_splitting_are_read_as_the_text_they_were(model):
    whole = prose(1, words=400)
    pieces = whole.passages(90)
    assert len(pieces) > 10
    one, other = (INSTRUMENT.measure(bench_of(model, data)) for data in (whole, pieces))
    assert one.metrics == other.metrics


def test_a_tokenizer_that_loses_text_gives_no_bits_per_byte(tmp_path):
    subject = tiny_language_model()
    lossy = opened(tmp_path / "words", subject.module, subject.processor)
    data = Prose("made", tuple(f"the film was {word} and slow" for word in "abcdef"), tuple("abcdef"))
    found = INSTRUMENT.measure(bench_of(lossy, data))
    assert set(found.metrics) == {"perplexity"}
    assert "bits per byte is left out" in found.warnings[0].en


def test_without_running_text_the_questions_with_their_right_answers_are_read(model):
    data = questions(8)
    found = INSTRUMENT.measure(bench_of(model, data))
    assert "no running text" in found.warnings[0].en
    texts = [c + " " + o[a] for c, o, a in zip(data.contexts, data.options, data.answers, strict=True)]
    asked = INSTRUMENT.measure(bench_of(model, Prose("made", tuple(texts), tuple("abcdefgh"))))
    assert found.metrics == asked.metrics


def test_the_window_is_no_wider_than_the_models_positions(model):
    wide = replace(PROTOCOL, context=4_096, stride=1_024)
    found = INSTRUMENT.measure(bench_of(model, prose(5, words=900), protocol=wide))
    assert found.details["protocol"]["context"] == 256
    assert np.isfinite(found.metrics["perplexity"].value)


def test_a_base_that_reads_other_tokens_is_not_compared(model, tmp_path):
    tokenizer = byte_level(size=270)
    other = opened(tmp_path / "other", llama(vocab=len(tokenizer)), tokenizer)
    found = INSTRUMENT.measure(bench_of(model, prose(6, words=60), base=other))
    assert not found.against_base and "other tokens" in found.warnings[-1].en


def test_it_refuses_other_tasks_and_missing_text(model):
    assert not INSTRUMENT.supports(bench_of(model))
    assert INSTRUMENT.supports(bench_of(model, prose(2, words=5)))


def test_a_processor_that_is_no_tokenizer_is_a_reason_not_a_crash(model):
    class Other:
        task, serve, session = "causal-lm", model.serve, model.session
        processor = object()

    with pytest.raises(CannotMeasure, match="tokenizer"):
        INSTRUMENT.measure(bench_of(Other(), prose(6, words=20)))
