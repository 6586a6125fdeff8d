"""Artefacts of language models that decode in the way their manifest says."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.measure.language.models import mistral
from tiku.artefact import open_artefact, predict, write
from tiku.artefact.manifest import MANIFEST, read_manifest
from tiku.core.errors import ArtefactError, RecipeError
from tiku.core.recipe import Recipe
from tiku.core.subject import Serve, Subject
from tiku.examination.plan import Plan
from tiku.methods.serving.continuous_batching import ContinuousBatching
from tiku.methods.serving.prompt_lookup import PromptLookupMethod
from tiku.methods.serving.self_speculative import SelfSpeculative
from tiku.testing import tiny_context, tiny_texts

PROMPTS = ["the film was the film", "good bad good bad good", "not a dull scene and", "warm"]


def _opened(subject: Subject, folder: Path) -> Any:
    write(subject, folder, recipe=Recipe(), examples=tiny_texts(8))
    return open_artefact(folder, threads=1)


@pytest.fixture
def looked_up(language_model: Subject, tmp_path: Path) -> Any:
    method = PromptLookupMethod(4)
    assert method.supports(language_model)
    return _opened(method.apply(language_model, tiny_context(tmp_path)), tmp_path / "looked-up")


def test_prompt_lookup_survives_the_manifest_and_generates_the_same_text(
    language_model: Subject, looked_up: Any, tmp_path: Path
) -> None:
    plain = _opened(language_model, tmp_path / "plain")
    assert (looked_up.serve.speculation, looked_up.serve.draft_tokens) == ("prompt-lookup", 4)
    assert looked_up.generate(PROMPTS, 25) == plain.generate(PROMPTS, 25)
    one_by_one = plain.complete(PROMPTS, 25, past_end=True)
    drafted = looked_up.complete(PROMPTS, 25, past_end=True)
    assert [d.tokens for d in drafted] == [o.tokens for o in one_by_one]
    assert all(len(d.tokens) == 25 for d in drafted)
    assert [o.forwards for o in one_by_one] == [25] * 4
    for made in drafted:  # each pass gives the accepted tokens and one more
        assert made.forwards + made.accepted == 25
    assert sum(made.accepted for made in drafted) > 0


def test_continuous_batching_survives_the_manifest_and_generates_the_same_text(
    language_model: Subject, tmp_path: Path
) -> None:
    method = ContinuousBatching(3)
    assert method.supports(language_model)
    together = _opened(method.apply(language_model, tiny_context(tmp_path)), tmp_path / "together")
    plain = _opened(language_model, tmp_path / "plain")
    assert together.serve.slots == 3
    limits = [25, 3, 12, 0]
    assert together.generate(PROMPTS, limits) == plain.generate(PROMPTS, limits)
    assert together.complete(PROMPTS, 25, past_end=True) == plain.complete(PROMPTS, 25, past_end=True)
    assert together.cache_report["most_used"] > 0 and plain.cache_report == {}
    assert [p.text for p in predict(tmp_path / "together", PROMPTS, threads=1)] == plain.generate(PROMPTS)


def test_first_layers_draft_and_the_text_is_the_same(language_model: Subject, tmp_path: Path) -> None:
    method = SelfSpeculative(draft_tokens=3)
    assert method.supports(language_model)
    early = _opened(method.apply(language_model, tiny_context(tmp_path)), tmp_path / "early")
    plain = _opened(language_model, tmp_path / "plain")
    assert (early.serve.speculation, early.serve.draft_layers) == ("self-speculative", 1)
    drafted = early.complete(PROMPTS, 25, past_end=True)
    assert [d.tokens for d in drafted] == [p.tokens for p in plain.complete(PROMPTS, 25, past_end=True)]
    assert all(made.forwards + made.accepted == 25 for made in drafted)
    assert 0 < sum(made.accepted for made in drafted) < sum(made.proposed for made in drafted)


def test_self_speculation_refuses_what_cannot_stop_early(language_model: Subject) -> None:
    elsewhere = SelfSpeculative().supports(replace(language_model, runtime="onnxruntime"))
    assert not elsewhere and "torch can stop early" in elsewhere.reason.en
    config = copy.deepcopy(language_model.module.config)
    config.num_hidden_layers = 1
    one = SelfSpeculative().supports(replace(language_model, module=type(language_model.module)(config)))
    assert not one and "only one" in one.reason.en


def test_two_ways_of_decoding_exclude_each_other() -> None:
    with pytest.raises(RecipeError, match="exclude each other"):
        Recipe.of(ContinuousBatching(), PromptLookupMethod())


def test_past_end_goes_on_where_generate_stops(language_model: Subject, tmp_path: Path) -> None:
    model = _opened(language_model, tmp_path / "plain")
    on = model.complete(PROMPTS, 40, past_end=True)
    assert all(len(made.tokens) == 40 and not made.ended for made in on)
    first = on[0].tokens[3]
    model.processor.eos_token = model.processor.convert_ids_to_tokens(first)
    stopped = model.complete(PROMPTS[:1], 40)[0]
    assert stopped.ended and stopped.tokens == on[0].tokens[: on[0].tokens.index(first)]


def test_artefacts_from_before_speculation_still_open(language_artefact: Path, tmp_path: Path) -> None:
    value = json.loads((language_artefact / MANIFEST).read_bytes())
    old = ("batch_size", "token_budget", "sort_by_length", "threads", "max_length")
    value["serve"] = {name: value["serve"][name] for name in old}
    (tmp_path / MANIFEST).write_text(json.dumps(value), encoding="utf-8")
    assert read_manifest(tmp_path).serve == Serve(**value["serve"])


def test_speculation_that_this_version_does_not_know_is_refused(looked_up: Any) -> None:
    looked_up.serve = replace(looked_up.serve, speculation="crystal-ball")
    with pytest.raises(ArtefactError, match="no speculation of the name"):
        looked_up.generate(PROMPTS, 4)


def test_continuous_batching_refuses_what_cannot_share_a_batch(language_model: Subject) -> None:
    elsewhere = ContinuousBatching().supports(replace(language_model, runtime="openvino"))
    assert not elsewhere and "openvino cannot" in elsewhere.reason.en
    sliding = ContinuousBatching().supports(replace(language_model, module=mistral(window=8)))
    assert not sliding and "sliding_attention" in sliding.reason.en and "sliding" in sliding.reason.zh


def test_exam_that_decides_on_generated_text_measures_it_of_every_recipe() -> None:
    def plan(**more: Any) -> Plan:
        return Plan("model", ("data",), Path("out"), **more)

    assert not plan().protocol().own_text
    assert plan(maximize="generated_tokens_per_second").protocol().own_text
    assert plan(require=("energy_per_generated_token <= 2 J",)).protocol().own_text


def test_prompt_lookup_refuses_what_cannot_go_back(language_model: Subject) -> None:
    elsewhere = PromptLookupMethod().supports(replace(language_model, runtime="torch-compile"))
    assert not elsewhere and "torch-compile cannot cut" in elsewhere.reason.en

    class Recurrent:
        _is_stateful = True
        config = language_model.module.config

    stateful = PromptLookupMethod().supports(replace(language_model, module=Recurrent()))
    assert not stateful and "running state" in stateful.reason.en
