"""What each inference method decides, and who wins a race."""

from dataclasses import replace

import numpy as np
import pytest

from tiku.artefact import open_artefact, write
from tiku.core.errors import RecipeError
from tiku.core.recipe import Recipe
from tiku.core.subject import Serve
from tiku.methods.compile.onnxruntime import OnnxRuntimeMethod
from tiku.methods.compile.openvino import OpenVinoMethod
from tiku.methods.quantize.int8_dynamic import Int8Dynamic
from tiku.methods.serving._racing import race
from tiku.methods.serving.batch_tuning import BatchTuning
from tiku.methods.serving.length_bucketing import LengthBucketing
from tiku.methods.serving.parallel_batches import ParallelBatches
from tiku.methods.serving.thread_tuning import ThreadTuning
from tiku.methods.serving.token_budget import TokenBudget
from tiku.testing import tiny_classifier, tiny_context, tiny_language_model, tiny_texts


@pytest.fixture(scope="module")
def classifier():
    return tiny_classifier()


def _apply(subject, context, *methods):
    for method in Recipe.of(*methods).methods():
        assert method.supports(subject)
        subject = method.apply(subject, context)
    return subject


def test_int8_then_runtime_then_serving_builds_one_artefact(classifier, tmp_path):
    context = tiny_context(tmp_path)
    recipe = Recipe.of(TokenBudget(64), OnnxRuntimeMethod(), Int8Dynamic())
    subject = _apply(classifier, context, *recipe.methods())
    assert (subject.runtime, subject.numerics.scheme, subject.serve.token_budget) == (
        "onnxruntime",
        "int8-dynamic",
        64,
    )
    texts = tiny_texts(20)
    manifest = write(subject, tmp_path / "a", recipe=recipe, examples=texts)
    opened = open_artefact(tmp_path / "a", threads=1)
    assert opened.predict(texts).shape == (20, 2)
    assert manifest.check["max_abs_diff_to_module"] > 0
    opened.close()


def test_two_runtimes_exclude_each_other():
    with pytest.raises(RecipeError, match="exclude each other"):
        Recipe.of(OnnxRuntimeMethod(), OpenVinoMethod())


def test_second_quantisation_is_refused(classifier, tmp_path):
    once = Int8Dynamic().apply(classifier, tiny_context(tmp_path))
    assert not Int8Dynamic().supports(once)


def test_bucketing_changes_the_batches_and_not_the_answers(classifier, tmp_path):
    texts = tiny_texts(40)
    answers = []
    for number, methods in enumerate([(), (LengthBucketing(),), (TokenBudget(96),)]):
        subject = _apply(replace(classifier, serve=Serve(batch_size=8)), tiny_context(tmp_path), *methods)
        write(subject, tmp_path / str(number), recipe=Recipe.of(*methods), examples=texts)
        opened = open_artefact(tmp_path / str(number), threads=1)
        answers.append(opened.predict(texts))
        opened.close()
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-5)
    np.testing.assert_allclose(answers[0], answers[2], atol=1e-5)


@pytest.mark.parametrize("runtime", [(), (OnnxRuntimeMethod(),), (OpenVinoMethod(),)], ids=str)
def test_batches_side_by_side_change_the_speed_and_not_the_answers(
    classifier, tmp_path, runtime, monkeypatch
):
    monkeypatch.setattr("tiku.methods.serving.parallel_batches.cores", lambda: 2)
    texts, methods = tiny_texts(40), (*runtime, TokenBudget(96))
    answers = []
    for name, recipe in (("one", methods), ("two", (*methods, ParallelBatches()))):
        subject = _apply(classifier, tiny_context(tmp_path, threads=2), *recipe)
        write(subject, tmp_path / name, recipe=Recipe.of(*recipe), examples=texts)
        opened = open_artefact(tmp_path / name, threads=2)
        assert opened.session.streams == opened.serve.streams == (1 if name == "one" else 2)
        answers.append(opened.predict(texts))
        opened.close()
    np.testing.assert_allclose(*answers, atol=1e-5)


def test_batches_side_by_side_need_cores_and_no_memory_limit(classifier, monkeypatch):
    monkeypatch.setattr("tiku.methods.serving.parallel_batches.cores", lambda: 2)
    assert ParallelBatches().supports(classifier)
    assert not ParallelBatches().supports(replace(classifier, serve=Serve(memory={"limit_mb": 1.0})))
    assert not ParallelBatches().supports(replace(classifier, runtime="torch-compile"))
    monkeypatch.setattr("tiku.methods.serving.parallel_batches.cores", lambda: 1)
    assert not ParallelBatches().supports(classifier)


def test_bucketing_of_sorted_batches_is_refused(classifier, tmp_path):
    assert not LengthBucketing().supports(TokenBudget(96).apply(classifier, tiny_context(tmp_path)))


def test_batch_size_has_no_say_under_a_token_budget(classifier, tmp_path):
    assert not BatchTuning().supports(TokenBudget(96).apply(classifier, tiny_context(tmp_path)))
    assert not BatchTuning(smallest=64, largest=4).supports(classifier)


def test_tuned_batch_size_is_one_that_was_raced_and_is_kept_as_a_fact(classifier, tmp_path):
    context = tiny_context(tmp_path)
    subject = BatchTuning(smallest=1, largest=16, texts=16, rounds=3).apply(classifier, context)
    facts = subject.facts["batch_tuning"]
    assert subject.serve.batch_size == facts["chosen"]
    assert set(facts["median_seconds"]) == {"1", "2", "4", "8", "16", "32"}  # 32 is the present size
    assert classifier.serve.batch_size == 32


def test_tuned_threads_stay_within_what_is_allowed(classifier, tmp_path):
    context = tiny_context(tmp_path, threads=2)
    for goal in ("throughput", "latency"):
        subject = ThreadTuning(goal=goal, texts=4, rounds=3).apply(classifier, context)
        assert subject.serve.threads in (1, 2)
        assert set(subject.facts["thread_tuning"]["median_seconds"]) == {"1", "2"}


class TestRace:
    """On a clock that the settings themselves advance, so that every time is known."""

    def _race(self, costs, incumbent, rounds=8, drift=1.0):
        now, factor = [0.0], [1.0]

        def run(setting):
            cost = costs[setting]
            factor[0] *= drift
            now[0] += factor[0] * (cost.pop(0) if isinstance(cost, list) else cost)

        quiet = lambda done, total, note: None  # noqa: E731
        return race(run, list(costs), incumbent, rounds, quiet, clock=lambda: now[0])

    def test_clearly_faster_setting_wins(self):
        found = self._race({1: 3.0, 2: 2.0, 4: 1.0}, incumbent=1)
        assert found.winner == 4
        assert found.facts()["median_seconds"] == {"1": 3.0, "2": 2.0, "4": 1.0}

    def test_incumbent_stays_when_the_gain_is_small(self):
        assert self._race({1: 1.0, 2: 0.99}, incumbent=1).winner == 1

    def test_incumbent_stays_when_the_challenger_wins_half_of_the_rounds(self):
        swinging = [1.0] + [0.5, 2.0] * 4
        assert self._race({1: 1.0, 2: swinging}, incumbent=1).winner == 1

    def test_machine_that_slows_down_favours_nobody(self):
        assert self._race({1: 1.0, 2: 1.0, 4: 1.0}, incumbent=1, drift=1.05).winner == 1
        assert self._race({1: 1.0, 2: 0.8, 4: 1.0}, incumbent=4, drift=1.05).winner == 2

    def test_warm_up_is_not_counted(self):
        assert self._race({1: 1.0, 2: [100.0] + [0.5] * 8}, incumbent=1).winner == 2


def test_threads_of_a_language_model_are_tuned_while_it_continues_text(tmp_path):
    context = tiny_context(tmp_path, threads=2)
    subject = ThreadTuning(rounds=3).apply(tiny_language_model(), context)
    found = subject.facts["thread_tuning"]
    assert set(found["median_seconds"]) == {"1", "2"} and subject.serve.threads == found["chosen"]
