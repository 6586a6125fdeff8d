from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.cases import context, texts, tiny_subject, weight_hash
from tiku.core import registry
from tiku.core.errors import DataError
from tiku.core.method import Situation
from tiku.core.recipe import Recipe
from tiku.core.subject import Numerics
from tiku.training import TrainOptions, train

VALUES = {"epochs": 1, "min_steps": 0, "batch_tokens": 128, "learning_rate": 1e-3, "precision": "fp32"}


def test_a_recipe_with_finetune_survives_being_written_down() -> None:
    recipe = Recipe.parse([{"method": "finetune", "config": VALUES}])
    assert Recipe.parse([{"method": s.method, "config": dict(s.config)} for s in recipe.steps]) == recipe


def test_it_trains_on_the_train_split_with_its_own_fields(tmp_path: Path) -> None:
    subject, data = tiny_subject(tmp_path / "m"), texts(60)
    method = registry.get("methods", "finetune")(**VALUES)
    assert method.supports(subject)
    trained = method.apply(subject, context(tmp_path, data=data))
    direct = train(subject, data, None, TrainOptions(**VALUES), context(tmp_path))
    assert weight_hash(trained.module) == weight_hash(direct.module)


def test_the_trained_model_loads_with_plain_transformers_and_answers_the_same(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    subject = tiny_subject(tmp_path / "m")
    trained = registry.get("methods", "finetune")(**VALUES).apply(subject, context(tmp_path, data=texts(60)))
    registry.get("models", subject.family).save(trained, tmp_path / "out")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    inputs = AutoTokenizer.from_pretrained(tmp_path / "out")("a superb film", return_tensors="pt")
    assert weight_hash(plain) == weight_hash(trained.module)
    assert torch.allclose(plain(**inputs).logits, trained.module(**inputs).logits, atol=1e-6)


def test_what_it_cannot_train_is_refused_with_the_reason_in_both_languages(tmp_path: Path) -> None:
    subject = tiny_subject(tmp_path / "m")
    for other in (
        replace(subject, task="causal-lm"),
        replace(subject, module=object()),
        replace(subject, numerics=Numerics("int8-dynamic")),
    ):
        support = registry.get("methods", "finetune")().supports(other)
        assert not support and support.reason.en and support.reason.zh


def test_without_labelled_texts_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no labelled texts"):
        registry.get("methods", "finetune")().apply(tiny_subject(tmp_path / "m"), context(tmp_path))


def test_it_is_not_proposed_as_a_trial() -> None:
    situation = Situation("text-classification", "text-classification", "cpu", 1000)
    assert registry.get("methods", "finetune").candidates(situation) == ()
