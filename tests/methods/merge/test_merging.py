"""Merging whole models: what each method makes of them, and what is refused."""

from dataclasses import replace

import pytest
import torch
import transformers

from tests.tiny import sentences, write_model
from tiku.core import registry
from tiku.core.data import Splits
from tiku.core.errors import DataError, ModelError
from tiku.core.method import Situation
from tiku.core.subject import Numerics
from tiku.data.labelled_texts import LabelledTexts
from tiku.methods.merge._arithmetic import weights_of
from tiku.methods.merge._judging import Judge
from tiku.methods.merge.slerp import Slerp
from tiku.methods.merge.soup import Soup
from tiku.methods.merge.task_arithmetic import TaskArithmetic
from tiku.methods.merge.ties import Ties
from tiku.testing import tiny_context, tiny_language_model

METHODS = [Soup, Slerp, TaskArithmetic, Ties]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Classifiers from one beginning: untrained, half-trained and trained for longer."""
    place = tmp_path_factory.mktemp("models")
    return {steps: str(write_model(place / str(steps), steps=steps)) for steps in (0, 20, 60)}


def _load(path, labels=("bad", "good"), cache=None):
    return registry.get("models", "text-classification").load(path, labels=labels, cache=cache)


@pytest.fixture
def context(tmp_path):
    import numpy as np

    rows = sentences(200, seed=7)
    labels = np.asarray([name == "good" for _, name in rows], dtype=np.int64)
    data = LabelledTexts("tiny", tuple(text for text, _ in rows), labels, ("bad", "good"))
    return replace(tiny_context(tmp_path), splits=(Splits("tiny", data, data, data, data, seed=0),))


def _merge(method, folders, context, start=60):
    return method.apply(_load(folders[start], cache=context.workdir), context)


def _both(folders, *steps):
    return [weights_of(_load(folders[step]).module) for step in steps]


def test_uniform_soup_is_the_average(folders, context):
    models = f"{folders[0]}, {folders[20]}"
    merged = _merge(Soup(models=models, selection="uniform"), folders, context)
    a, b, c = _both(folders, 60, 0, 20)
    for name, tensor in weights_of(merged.module).items():
        torch.testing.assert_close(tensor, torch.stack([a[name], b[name], c[name]]).mean(0))


def test_greedy_soup_leaves_out_what_harms_and_is_not_below_the_best_single_model(folders, context):
    merged = _merge(Soup(models=f"{folders[0]},{folders[60]}"), folders, context, start=0)
    facts = merged.facts["merged"]
    assert facts["models"][0] == folders[60]
    assert facts["score"] >= max(facts["alone"].values()) > facts["alone"]["the subject"]
    subject = _load(folders[0], cache=context.workdir)
    assert Judge(subject, context, 1000).score(merged.module) == facts["score"]


def test_score_is_the_accuracy_of_transformers_itself(folders, context):
    subject = _load(folders[20], cache=context.workdir)
    validation = context.splits[0].validation
    right = 0
    for text, label in zip(validation.texts, validation.labels, strict=True):
        with torch.inference_mode():
            logits = subject.module(**subject.processor(text, return_tensors="pt")).logits
        right += int(logits.argmax()) == label
    assert Judge(subject, context, 1000).score(subject.module) == pytest.approx(right / len(validation))


def test_slerp_goes_from_one_model_to_the_other(folders, context):
    here, there = _both(folders, 60, 20)
    for weight, end in ((0.0, here), (1.0, there)):
        merged = weights_of(_merge(Slerp(model=folders[20], weight=weight), folders, context).module)
        assert all(torch.allclose(merged[name], end[name], atol=1e-6) for name in end)


def test_task_arithmetic_over_the_number_of_models_is_their_average(folders, context):
    method = TaskArithmetic(models=folders[20], base=folders[0], scale=0.5)
    merged = weights_of(_merge(method, folders, context).module)
    a, b = _both(folders, 60, 20)
    assert all(torch.allclose(merged[name], (a[name] + b[name]) / 2, atol=1e-6) for name in a)


def test_negated_task_forgets(folders, context):
    method = TaskArithmetic(models=folders[60], base=folders[0], scale=-0.5)
    merged = weights_of(_merge(method, folders, context).module)
    start, end = _both(folders, 0, 60)
    assert all(torch.allclose(merged[name], 2 * start[name] - end[name], atol=1e-5) for name in start)


def test_ties_of_a_model_with_itself_keeps_its_largest_changes(folders, context):
    method = Ties(models=folders[60], base=folders[0], density=0.2)
    merged = weights_of(_merge(method, folders, context).module)
    start, end = _both(folders, 0, 60)
    changes = torch.cat([(end[name] - start[name]).abs().flatten() for name in start])
    kept = torch.cat([(merged[name] != start[name]).flatten() for name in start])
    assert kept.float().mean() == pytest.approx(0.2, abs=0.01)
    assert changes[kept].min() >= changes[~kept].max()
    ended = torch.cat([torch.isclose(merged[name], end[name], atol=1e-6).flatten() for name in start])
    assert ended[kept].all()


def test_a_head_that_the_ancestor_lacks_is_averaged(folders, context, tmp_path):
    headless = _load(folders[0]).module.bert
    headless.save_pretrained(tmp_path / "ancestor")
    _load(folders[0]).processor.save_pretrained(tmp_path / "ancestor")
    method = Ties(models=folders[20], base=str(tmp_path / "ancestor"))
    merged = weights_of(_merge(method, folders, context).module)
    a, b = _both(folders, 60, 20)
    torch.testing.assert_close(
        merged["classifier.weight"], (a["classifier.weight"] + b["classifier.weight"]) / 2
    )


def test_language_models_are_judged_by_their_loss(tmp_path):
    from tiku.data.prose import Prose

    subject = tiny_language_model()
    prose = Prose("tiny", ("the film was good and the cast was warm",) * 4, ("",) * 4)
    context = replace(tiny_context(tmp_path), splits=(Splits("tiny", prose, prose, prose, prose, seed=0),))
    ids = torch.tensor([subject.processor(prose.inputs()[0], add_special_tokens=False)["input_ids"]])
    with torch.inference_mode():
        loss = subject.module(input_ids=ids, labels=ids).loss
    judge = Judge(subject, context, 1000)
    assert judge.score(subject.module) == pytest.approx(-float(loss), abs=1e-5)


def test_merged_language_models_keep_their_tied_head(tmp_path):
    subject = tiny_language_model()
    config = transformers.LlamaConfig(**{**subject.module.config.to_dict(), "tie_word_embeddings": True})
    here, there = (transformers.LlamaForCausalLM(config).eval() for _ in range(2))
    there.save_pretrained(tmp_path / "there")
    subject.processor.save_pretrained(tmp_path / "there")
    merged = Slerp(model=str(tmp_path / "there")).apply(replace(subject, module=here), tiny_context(tmp_path))
    assert merged.module.lm_head.weight is merged.module.model.embed_tokens.weight


@pytest.mark.parametrize("method", METHODS)
def test_without_another_model_it_is_refused_and_never_proposed(method, folders):
    refused = method().supports(_load(folders[0]))
    assert not refused and "no other model is named" in refused.reason.en
    assert method.candidates(Situation("text-classification", "text-classification", "cpu", 1)) == ()


def test_other_refusals_say_why(folders):
    subject = _load(folders[0])
    assert "common ancestor" in Ties(models="a").supports(subject).reason.en
    assert "two ends" in Slerp(model="a,b").supports(subject).reason.en
    rounded = replace(subject, numerics=Numerics("int8-dynamic"))
    assert "before they are rounded" in Soup(models="a").supports(rounded).reason.en


def test_models_that_do_not_fit_are_errors_that_name_the_difference(folders, context, tmp_path):
    wider = str(write_model(tmp_path / "wider", steps=0, hidden=64))
    with pytest.raises(ModelError, match="another architecture") as error:
        _merge(Soup(models=wider), folders, context)
    assert "bert.embeddings.LayerNorm.bias [64]" in str(error.value.got)
    others = str(write_model(tmp_path / "others", steps=0, labels=("red", "green")))
    with pytest.raises(ModelError, match="not learned the same classes"):
        _merge(Soup(models=others), folders, context)
    with pytest.raises(ModelError, match="no model at this path"):
        _merge(Soup(models=str(tmp_path / "nowhere")), folders, context)


def test_another_tokenizer_is_refused(folders, context, tmp_path):
    import json
    import shutil

    folder = tmp_path / "renumbered"
    shutil.copytree(folders[20], folder)
    stored = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    vocabulary = stored["model"]["vocab"]
    vocabulary["film"], vocabulary["plot"] = vocabulary["plot"], vocabulary["film"]
    (folder / "tokenizer.json").write_text(json.dumps(stored), "utf-8")
    with pytest.raises(ModelError, match="number their tokens differently"):
        _merge(Soup(models=str(folder)), folders, context)


def test_pickled_weights_are_refused(folders, context, tmp_path):
    import shutil

    folder = tmp_path / "pickled"
    shutil.copytree(folders[20], folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickle"):
        _merge(Soup(models=str(folder)), folders, context)


def test_greedy_without_validation_of_its_kind_is_a_data_error(folders, context):
    prose_only = replace(context, splits=())
    with pytest.raises(DataError, match="no validation data"):
        _merge(Soup(models=folders[20]), folders, prose_only)
