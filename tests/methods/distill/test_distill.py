"""A student cut from its teacher, and what it learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers

from tests.methods.distill import cases
from tests.methods.prune import subjects
from tests.training.cases import weight_hash
from tiku.core import registry
from tiku.core.errors import DataError, ModelError
from tiku.core.method import Situation
from tiku.core.recipe import Recipe
from tiku.core.subject import Numerics
from tiku.measure.stats.means import mean_interval
from tiku.methods.distill import _teaching
from tiku.methods.distill._run import DistilRun, Objective
from tiku.methods.distill.distill import Distill
from tiku.methods.prune.prune_depth import PruneDepth
from tiku.testing import check_method, tiny_classifier, tiny_context, tiny_language_model
from tiku.training.checkpoint import Checkpoint
from tiku.training.options import TrainOptions

SHORT = {"steps": 4, "batch_tokens": 128, "precision": "fp32"}


@pytest.fixture(scope="module")
def language():
    return subjects.language_model(subjects.byte_bpe(), layers=4)


def _context(tmp_path):
    return subjects.context_of(subjects.CORPUS, tmp_path)


def test_distillation_wins_back_at_least_half_of_what_depth_pruning_lost(tmp_path):
    lost, more_than_half = [], []
    for seed in (0, 1):
        teacher, judged = cases.trained(seed), cases.counted(1000, 999 + seed)
        context = cases.context(tmp_path, seed=seed, count=600)
        cut = PruneDepth(keep=0.5).apply(teacher, context)
        method = Distill(keep_blocks=0.5, steps=60, batch_tokens=512, learning_rate=2e-3, precision="fp32")
        student = method.apply(teacher, context)
        whole, pruned, taught = (cases.right(s, judged) for s in (teacher, cut, student))
        assert student.facts["distill"]["kept_blocks"] == cut.facts["prune_depth"]["kept_blocks"]
        assert subjects.parameters(student.module) == subjects.parameters(cut.module)
        lost.append(whole - pruned)
        more_than_half.append(taught - pruned - 0.5 * (whole - pruned))
    assert np.mean(lost) > 0.2  # averaged over the seeds there is something to win back
    told = mean_interval(np.concatenate(more_than_half))
    assert told.low is not None and told.low >= 0.0, told


def _loss_by_hand(teacher, student, inputs, targets, objective):
    """Mean over the batch's predictions, example by example, without hooks or padding."""
    rows, hidden, tokens = [], [], 0
    for i in range(len(targets)):
        length = int(inputs["attention_mask"][i].sum())
        one = {name: tensor[i : i + 1, :length] for name, tensor in inputs.items()}
        t, s = (m(**one, output_hidden_states=True) for m in (teacher, student))
        logits = [o.logits[0] if o.logits.ndim == 3 else o.logits for o in (t, s)]
        truth = targets[i : i + 1] if t.logits.ndim == 2 else one["input_ids"][0, 1:]
        logits = [x[: len(truth)] for x in logits]
        p, q = (torch.softmax(x / objective.temperature, -1) for x in logits)
        kd = (p * (p / q).log()).sum(-1) * objective.temperature**2
        ce = -torch.log_softmax(logits[1], -1)[range(len(truth)), truth]
        rows += [(1 - objective.hard) * k + objective.hard * c for k, c in zip(kd, ce, strict=True)]
        # block outputs, before any last norm: student 0 -> teacher 1, student 1 -> teacher 3
        own, other = s.hidden_states[1][0], t.hidden_states[2][0]
        hidden.append((1 - torch.cosine_similarity(own, other, dim=-1)).sum())
        tokens += length
    return torch.stack(rows).mean(), torch.stack(hidden).sum() / tokens, len(rows)


@pytest.mark.parametrize("make", [subjects.classifier, subjects.language_model])
def test_the_loss_of_a_batch_is_the_definition_averaged_over_its_predictions(make, tmp_path):
    import copy

    subject = make(subjects.byte_bpe(), layers=4)
    context = _context(tmp_path)
    cut = PruneDepth(keep=0.5).apply(subject, context)
    examples = _teaching.training_examples(subject, context, 10_000, 64)
    objective = Objective(temperature=3.0, hard=0.3, hidden=2.0, relations=0.0)
    classes = 2 if subject.labels else None
    student = copy.deepcopy(cut.module)
    run = DistilRun(
        student, subject.module, examples, classes, TrainOptions(min_steps=1), 0,
        objective=objective, matches=[1], precision="fp32", device="cpu",
    )  # fmt: skip
    run.module.eval()
    positions = torch.arange(len(examples)).numpy()
    found = run.loss_sum(positions).item() / len(examples)
    inputs, targets = examples.batch(positions, "cpu")
    with torch.inference_mode():
        answers, hidden, _ = _loss_by_hand(subject.module, student, inputs, targets, objective)
    assert found == pytest.approx((answers + 2.0 * hidden).item(), rel=1e-4)


def test_a_student_equal_to_its_teacher_has_nothing_to_learn(language, tmp_path):
    examples = _teaching.training_examples(language, _context(tmp_path), 10_000, 64)
    run = DistilRun(
        language.module, language.module, examples, None, TrainOptions(min_steps=1), 0,
        objective=Objective(2.0, 0.0, 1.0, 1.0), matches=[0, 1, 2, 3], precision="fp32", device="cpu",
    )  # fmt: skip
    assert run.loss_sum(torch.arange(3).numpy()).item() == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("loss", [{"hidden": 1.0}, {"relations": 1.0, "keep_heads": 0.67}, {"hard": 1.0}])
def test_a_language_model_student_comes_nearer_to_the_text(loss, language, tmp_path):
    method = Distill(
        **{"keep_blocks": 0.5, "hidden": 0.0, **SHORT, "steps": 60, "learning_rate": 3e-3, **loss}
    )
    assert method.supports(language)
    before = weight_hash(language.module)
    student = method.apply(language, _context(tmp_path))
    assert weight_hash(language.module) == before
    standing = student.facts["distill"]["validation"]
    assert standing["student"]["loss"] < standing["cut"]["loss"]
    predicted = sum(len(language.processor(text)["input_ids"]) - 1 for text in subjects.CORPUS)
    assert standing["student"]["items"] == standing["teacher"]["items"] == predicted


@pytest.mark.parametrize("width", [48, 24])
def test_a_given_student_learns_whether_or_not_it_is_as_wide(width, language, tmp_path):
    small = subjects.language_model(language.processor, layers=2, seed=5, hidden_size=width)
    registry.get("models", "causal-lm").save(small, tmp_path / "small")
    method = Distill(student=str(tmp_path / "small"), **{**SHORT, "steps": 40, "learning_rate": 3e-3})
    assert method.supports(language)
    taught = method.apply(language, _context(tmp_path))
    facts = taught.facts["distill"]
    assert taught.module.config.hidden_size == width
    assert facts["validation"]["student"]["loss"] < facts["validation"]["cut"]["loss"]
    assert ("hidden_states" in facts) == (width != 48)


def test_a_given_student_with_another_tokenizer_is_an_error(language, tmp_path):
    other = subjects.language_model(subjects.word_piece())
    registry.get("models", "causal-lm").save(other, tmp_path / "other")
    with pytest.raises(ModelError, match="reads other tokens"):
        Distill(student=str(tmp_path / "other"), **SHORT).apply(language, _context(tmp_path))


def test_saved_student_loads_with_plain_transformers(language, tmp_path):
    student = Distill(keep_blocks=0.5, keep_neurons=0.5, **SHORT).apply(language, _context(tmp_path))
    registry.get("models", "causal-lm").save(student, tmp_path / "out")
    plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    assert weight_hash(plain) == weight_hash(student.module)
    assert (plain.config.num_hidden_layers, plain.config.intermediate_size) == (2, 32)


def test_a_killed_run_goes_on_to_the_same_weights(language, tmp_path, monkeypatch):
    whole = Distill(keep_blocks=0.5, **SHORT).apply(language, _context(tmp_path / "whole"))

    class Killed(BaseException):
        pass

    advance = DistilRun.advance

    def dies(self, seconds):
        if self.step == 2:
            raise Killed
        advance(self, seconds)

    monkeypatch.setattr(_teaching, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(DistilRun, "advance", dies)
    again = Distill(keep_blocks=0.5, **SHORT)
    with pytest.raises(Killed):
        again.apply(language, _context(tmp_path / "killed"))
    assert Checkpoint(tmp_path / "killed", "").path.is_file()
    monkeypatch.setattr(DistilRun, "advance", advance)
    resumed = again.apply(language, _context(tmp_path / "killed"))
    assert resumed.facts["distill"]["training"]["resumed_at"] == [2]
    assert weight_hash(resumed.module) == weight_hash(whole.module)


@pytest.mark.parametrize("make", [subjects.classifier, subjects.language_model])
def test_contract_holds_with_every_loss(make, tmp_path):
    class Short(Distill):
        def __init__(self):
            super().__init__(keep_blocks=0.5, relations=0.5, **SHORT)

    Short.__module__ = Distill.__module__
    check_method(Short, make(subjects.byte_bpe()), _context(tmp_path))


def test_what_cannot_be_distilled_is_refused_with_the_reason():
    bert = tiny_classifier()
    gpt2 = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=50)
    )
    for method, subject, reason in (
        (Distill(keep_blocks=1.0), bert, "as large as its teacher"),
        (Distill(), replace(bert, numerics=Numerics("int8-dynamic")), "int8-dynamic"),
        (Distill(), replace(bert, task="other"), "no loss"),
        (Distill(keep_heads=0.5), bert, "head size"),
        (Distill(relations=1.0), replace(tiny_language_model(), module=gpt2), "relations"),
    ):
        support = method.supports(subject)
        assert not support and reason in support.reason.en


def test_without_texts_it_says_so(language, tmp_path):
    context = subjects.context_of(subjects.CORPUS, tmp_path, empty=True)
    with pytest.raises(DataError, match="no calibration texts"):
        Distill(**SHORT).apply(language, context)


def test_labels_of_other_classes_are_an_error(tmp_path):
    subject = replace(tiny_classifier(), labels=("no", "yes"))
    with pytest.raises(DataError, match="classes are not the model's"):
        Distill(**SHORT).apply(subject, tiny_context(tmp_path))


def test_candidates_fit_the_budget_and_survive_a_recipe():
    def proposed(task, parameters, budget):
        return Distill.candidates(Situation(task, task, "cpu", parameters, budget=budget))

    assert proposed("causal-lm", 10**12, "quick") == ()
    for task in ("text-classification", "causal-lm"):
        steps = [proposed(task, 20_000_000, budget)[0].steps for budget in ("quick", "standard", "thorough")]
        assert steps == sorted(steps) and steps[0] < steps[-1]
        Recipe.of(*proposed(task, 20_000_000, "quick"))
