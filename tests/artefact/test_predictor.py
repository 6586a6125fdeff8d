"""Predictions against transformers' own forward pass, whatever the batching."""

import dataclasses

import numpy as np
import pytest
import torch

from tiku.artefact import open_artefact, predict
from tiku.artefact.manifest import read_manifest
from tiku.artefact.predictor import OpenedArtefact, open_session, registered
from tiku.core.errors import ArtefactError, BadInput, DataError
from tiku.core.subject import Serve
from tiku.testing import tiny_texts


@pytest.fixture
def opened(artefact):
    found = open_artefact(artefact, threads=1)
    yield found
    found.close()


def _by_transformers(subject, texts):
    rows = []
    with torch.inference_mode():
        for text in texts:
            inputs = subject.processor(text, truncation=True, return_tensors="pt")
            rows.append(subject.module(**inputs).logits[0].numpy())
    return np.stack(rows)


@pytest.mark.parametrize(
    "serve",
    [
        Serve(batch_size=1),
        Serve(batch_size=5),
        Serve(batch_size=32, sort_by_length=True),
        Serve(token_budget=64),
        Serve(token_budget=64, sort_by_length=True),
    ],
    ids=str,
)
def test_logits_are_those_of_transformers_in_the_order_of_the_inputs(opened, classifier, serve):
    texts = tiny_texts(23, seed=3)
    opened.serve = serve
    np.testing.assert_allclose(opened.predict(texts), _by_transformers(classifier, texts), atol=1e-5)


@pytest.mark.parametrize(
    "serve", [Serve(batch_size=4, streams=3), Serve(token_budget=64, streams=2)], ids=str
)
def test_batches_that_run_at_once_give_the_same_rows(artefact, classifier, serve):
    texts = tiny_texts(23, seed=3)
    written = read_manifest(artefact)
    session = open_session(artefact, dataclasses.replace(written, serve=serve), threads=4)
    opened = OpenedArtefact(
        artefact,
        dataclasses.replace(written, serve=serve),
        registered("models", written.family),
        classifier.processor,
        session,
    )
    assert session.streams == serve.streams
    np.testing.assert_allclose(opened.predict(texts), _by_transformers(classifier, texts), atol=1e-5)
    assert opened.predict([]).shape == (0, 2)
    opened.close()


def test_what_one_of_several_batches_raises_is_raised(opened, monkeypatch):
    def run(inputs):
        raise ArtefactError("broken", got=len(inputs["input_ids"]))

    monkeypatch.setattr(opened.session, "streams", 2)
    monkeypatch.setattr(opened.session, "run", run)
    opened.serve = Serve(batch_size=2, streams=2)
    with pytest.raises(ArtefactError, match="broken"):
        opened.predict(tiny_texts(8))


def test_no_inputs_give_no_rows_with_the_right_width(opened):
    assert opened.predict([]).shape == (0, 2)
    assert opened.encode([]) == []


def test_texts_over_the_limit_are_cut_and_counted(opened, classifier):
    fits, over = "good " * 46, "good " * 47  # the limit is 48 tokens with [CLS] and [SEP]
    logits = opened.predict([fits, over, "good"])
    assert opened.truncated == 1
    np.testing.assert_allclose(logits[0], logits[1], atol=1e-6)
    assert len(opened.encode([over])[0]["input_ids"]) == 48


def test_max_length_of_serve_cuts_earlier(opened):
    opened.serve = dataclasses.replace(opened.serve, max_length=8)
    assert [len(e["input_ids"]) for e in opened.encode(["good " * 6, "good " * 7, "good"])] == [8, 8, 3]
    assert opened.truncated == 1


def test_predict_names_the_label_and_scores_sum_to_one(artefact, classifier):
    texts = tiny_texts(5, seed=1)
    answers = predict(artefact, texts, threads=1)
    best = _by_transformers(classifier, texts).argmax(axis=1)
    assert [answer.label for answer in answers] == [classifier.labels[i] for i in best]
    for answer in answers:
        assert sum(answer.scores.values()) == pytest.approx(1.0)
        assert max(answer.scores, key=answer.scores.get) == answer.label


def test_predict_of_nothing_is_nothing(artefact):
    assert predict(artefact, [], threads=1) == []


def test_input_that_is_no_text_is_refused_with_its_position(opened):
    with pytest.raises(DataError) as caught:
        opened.predict(["fine", 7])
    assert "1" in caught.value.got


def test_device_that_is_not_there_is_refused(artefact):
    with pytest.raises(ArtefactError, match="device"):
        open_artefact(artefact, device="tpu")


def test_two_sessions_with_other_thread_counts_can_alternate(artefact):
    before = torch.get_num_threads()
    one, two = open_artefact(artefact, threads=1), open_artefact(artefact, threads=2)
    texts = tiny_texts(4)
    seen = []
    for model in (one, two, one):
        model.predict(texts)
        seen.append(torch.get_num_threads())
    two.close()
    one.close()
    assert seen == [1, 2, 1]
    assert torch.get_num_threads() == before


class TestLanguageModel:
    @pytest.fixture
    def model(self, language_artefact):
        found = open_artefact(language_artefact, threads=1)
        yield found
        found.close()

    def test_greedy_continuation_is_that_of_transformers(self, model, language_model):
        prompts = ["the film was", "good", "not a dull scene and"]
        expected = []
        for prompt in prompts:
            ids = language_model.processor(prompt, return_tensors="pt")
            out = language_model.module.generate(**ids, max_new_tokens=9, do_sample=False)
            made = out[0, ids["input_ids"].shape[1] :]
            expected.append(language_model.processor.decode(made, skip_special_tokens=True))
        assert model.generate(prompts, 9) == expected

    def test_each_request_has_its_own_limit(self, model):
        long = model.generate(["the film was"], 8)[0].split()
        short, none = model.generate(["the film was", "the film was"], [3, 0])
        assert short.split() == long[:3]
        assert none == ""

    def test_cache_fed_in_pieces_gives_the_logits_of_one_pass(self, model):
        tokens = np.asarray([model.encode(["the film was not very good and a cast"])[0]["input_ids"]])
        whole = model.session.run({"input_ids": tokens})
        cache, pieces = None, []
        for piece in (tokens[:, :4], tokens[:, 4:5], tokens[:, 5:]):
            logits, cache = model.session.extend(piece, cache)
            pieces.append(logits)
        np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, atol=1e-5)

    def test_last_only_gives_the_last_position(self, model):
        tokens = np.asarray([[4, 5, 6, 7]])
        full, _ = model.session.extend(tokens)
        last, _ = model.session.extend(tokens, last_only=True)
        assert last.shape == (1, 1, full.shape[2])
        np.testing.assert_allclose(last[:, 0], full[:, -1], atol=1e-6)

    def test_class_logits_are_refused(self, model):
        with pytest.raises(BadInput, match="no class logits"):
            model.predict(["the film"])

    def test_empty_prompt_is_refused(self, model):
        with pytest.raises(DataError, match="empty prompt"):
            model.generate([""], 4)

    def test_limits_and_prompts_must_pair_up(self, model):
        with pytest.raises(BadInput, match="one token limit per prompt"):
            model.generate(["good"], [1, 2])
