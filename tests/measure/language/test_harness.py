"""lm-evaluation-harness on a tiku model, against the harness's own Hugging Face model on the same tasks."""

import importlib.util
import json
import warnings

import pytest

from tests.measure.instruments.bench import bench_of, opened, questions
from tests.measure.language.models import llama
from tests.measure.language.words import byte_level, prose
from tiku.core.errors import BadInput, MissingExtra, ModelError
from tiku.measure.language import harness
from tiku.testing import tiny_classifier

ABSENT = "lm-eval is not installed: the adapter was NOT run (pip install 'tiku[harness]')"


@pytest.fixture(scope="module")
def lm_eval():
    if importlib.util.find_spec("lm_eval") is None:
        warnings.warn(ABSENT, stacklevel=1)
        pytest.skip(ABSENT)
    import lm_eval.tasks

    return lm_eval


@pytest.fixture(scope="module")
def quick(lm_eval):
    """Options that leave out the harness's own thousands of tasks and its bootstrap."""
    return {"task_manager": lm_eval.tasks.TaskManager(include_defaults=False), "bootstrap_iters": 0}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return opened(tmp_path_factory.mktemp("model") / "artefact")


@pytest.fixture(scope="module")
def theirs(lm_eval):
    from lm_eval.models.huggingface import HFLM

    tokenizer = byte_level()
    tokenizer.model_max_length = 256
    module = llama(vocab=len(tokenizer))
    return HFLM(pretrained=module, tokenizer=tokenizer, backend="causal", batch_size=4, max_length=256)


def _task(folder, rows, **config):
    """A task of one's own on a local file."""
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    files = {"data_files": {"test": str(path)}, "cache_dir": str(folder / "cache")}
    return {"task": "local", "dataset_path": "json", "dataset_kwargs": files, "test_split": "test", **config}


def _choices(folder):
    data = questions(30)
    rows = [
        {"question": c, "options": list(o), "answer": a}
        for c, o, a in zip(data.contexts, data.options, data.answers, strict=True)
    ]
    metrics = [{"metric": name} for name in ("acc", "acc_norm", "acc_bytes")]
    return data, _task(
        folder, rows, output_type="multiple_choice", doc_to_text="question", doc_to_choice="options",
        doc_to_target="answer", metric_list=metrics,
    )  # fmt: skip


def _log_likelihoods(found):
    return [[float(r[0][0]) for r in sample["resps"]] for sample in found["samples"]["local"]]


def test_a_local_task_gives_what_the_harness_itself_finds(lm_eval, quick, model, theirs, tmp_path):
    _, task = _choices(tmp_path)
    ours = harness.run_harness(model.folder, [task], num_fewshot=2, **quick)
    peer = lm_eval.simple_evaluate(model=theirs, tasks=[task], num_fewshot=2, **quick)
    for own, other in zip(_log_likelihoods(ours), _log_likelihoods(peer), strict=True):
        assert own == pytest.approx(other, abs=1e-4)
    for name in ("acc,none", "acc_norm,none", "acc_bytes,none"):
        assert ours["results"]["local"][name] == peer["results"]["local"][name]


def test_the_instrument_and_the_harness_agree_on_every_normalisation(lm_eval, quick, model, tmp_path):
    from tiku.measure.instruments.multiple_choice import INSTRUMENT

    data, task = _choices(tmp_path)
    found = harness.run_harness(model.folder, [task], **quick)["results"]["local"]
    own = INSTRUMENT.measure(bench_of(model, data)).metrics
    assert own["choice_accuracy"].value == pytest.approx(found["acc,none"])
    assert own["choice_accuracy_norm"].value == pytest.approx(found["acc_norm,none"])
    assert own["choice_accuracy_bytes"].value == pytest.approx(found["acc_bytes,none"])


def test_rolling_perplexity_gives_what_the_harness_itself_finds(lm_eval, quick, model, theirs, tmp_path):
    rows = [{"text": text} for text in (*prose(3, 40).documents, *prose(2, 700).documents)]
    task = _task(
        tmp_path, rows, output_type="loglikelihood_rolling", doc_to_text="", doc_to_target="text",
        metric_list=[{"metric": name} for name in ("word_perplexity", "bits_per_byte")],
    )  # fmt: skip
    ours = harness.run_harness(model.folder, [task], **quick)["results"]["local"]
    peer = lm_eval.simple_evaluate(model=theirs, tasks=[task], **quick)["results"]["local"]
    assert ours["bits_per_byte,none"] == pytest.approx(peer["bits_per_byte,none"], rel=1e-5)
    assert ours["word_perplexity,none"] == pytest.approx(peer["word_perplexity,none"], rel=1e-4)


def test_generation_stops_where_the_harness_itself_stops(lm_eval, quick, model, theirs, tmp_path):
    rows = [{"text": text, "answer": "x"} for text in prose(6, 8).documents]
    task = _task(
        tmp_path, rows, output_type="generate_until", doc_to_text="text", doc_to_target="answer",
        generation_kwargs={"until": ["in", " the"], "max_gen_toks": 24},
        metric_list=[{"metric": "exact_match"}],
    )  # fmt: skip
    ours = harness.run_harness(model.folder, [task], **quick)["samples"]["local"]
    peer = lm_eval.simple_evaluate(model=theirs, tasks=[task], **quick)["samples"]["local"]
    texts = [sample["resps"][0][0] for sample in ours]
    assert texts == [sample["resps"][0][0] for sample in peer]
    assert any(texts) and not any(stop in text for text in texts for stop in ("in", " the"))


def test_sampling_is_refused(lm_eval, model):
    own = harness.harness_model(model.session, model.processor)
    with pytest.raises(BadInput, match="greedily"):
        own._continue("the river", {"do_sample": True, "temperature": 0.7})


def test_a_model_that_is_no_artefact_is_loaded_as_an_exam_would(lm_eval, quick, model, tmp_path):
    _, task = _choices(tmp_path)
    from tiku.artefact.manifest import MODEL

    plain_folder = harness.run_harness(model.folder / MODEL, [task], limit=5, **quick)
    assert plain_folder["results"] == harness.run_harness(model.folder, [task], limit=5, **quick)["results"]


def test_a_classifier_is_refused(lm_eval, tmp_path):
    from tiku.artefact import write
    from tiku.core.recipe import Recipe

    write(tiny_classifier(), tmp_path / "classifier", recipe=Recipe(), examples=["good film"])
    with pytest.raises(ModelError, match="language models"):
        harness.run_harness(tmp_path / "classifier", ["anything"])


def test_without_the_package_the_install_line_is_given(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as caught:
        harness.run_harness("anywhere", ["anything"])
    assert caught.value.next_step == "pip install 'tiku[harness]'"
