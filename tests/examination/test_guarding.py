"""A change of number format is measured, and one that makes the model answer garbage goes no further."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tiku.core.errors import ModelError
from tiku.core.recipe import Recipe
from tiku.core.subject import Numerics, Subject
from tiku.examination.building import apply_recipe
from tiku.examination.guarding import guarded
from tiku.methods.quantize.int4_weight_only import Int4WeightOnly
from tiku.methods.quantize.int8_dynamic import Int8Dynamic
from tiku.testing import tiny_classifier, tiny_context, tiny_language_model

BOTH = pytest.mark.parametrize("make", [tiny_classifier, tiny_language_model])


def with_other_weights(subject: Subject, module: torch.nn.Module) -> Subject:
    return replace(subject, module=module, numerics=Numerics("int4-weight-only"))


def test_weights_of_another_model_are_garbage(tmp_path: Path) -> None:
    subject, other = tiny_language_model(), tiny_language_model(seed=5)
    with pytest.raises(ModelError, match="garbage after int4-weight-only") as caught:
        guarded(subject, with_other_weights(subject, other.module), tiny_context(tmp_path))
    assert "nats" in caught.value.got


def test_a_classifier_that_says_the_opposite_is_garbage(tmp_path: Path) -> None:
    sure, opposite = tiny_classifier(), tiny_classifier(seed=0)
    with torch.no_grad():
        sure.module.classifier.weight *= 40  # so that its texts get different answers
        opposite.module.classifier.weight *= -40
    with pytest.raises(ModelError, match="garbage"):
        guarded(sure, with_other_weights(sure, opposite.module), tiny_context(tmp_path))


@BOTH
def test_numbers_that_are_not_finite_are_garbage(make, tmp_path: Path) -> None:
    subject = make()
    module = copy.deepcopy(subject.module)
    next(p for n, p in module.named_parameters() if n.endswith("weight") and p.ndim == 2).data.fill_(
        float("nan")
    )
    with pytest.raises(ModelError, match="garbage"):
        guarded(subject, with_other_weights(subject, module), tiny_context(tmp_path))


@BOTH
def test_equal_weights_are_no_distance_away(make, tmp_path: Path) -> None:
    subject = make()
    same = with_other_weights(subject, copy.deepcopy(subject.module))
    told = guarded(subject, same, tiny_context(tmp_path)).facts["away_from_before"]
    assert told["nats"] == 0 and told["garbage_from"] >= 0.1 and told["answers"] > 8


@BOTH
def test_the_distance_of_fewer_bits_is_kept_with_the_subject(make, tmp_path: Path) -> None:
    changed = apply_recipe(Recipe.of(Int4WeightOnly()), make(), tiny_context(tmp_path))
    told = changed.facts["away_from_before"]
    assert 0 < told["nats"] < told["garbage_from"]


def test_a_language_model_without_texts_writes_its_own(tmp_path: Path) -> None:
    subject = tiny_language_model()
    same = with_other_weights(subject, copy.deepcopy(subject.module))
    told = guarded(subject, same, replace(tiny_context(tmp_path), splits=())).facts["away_from_before"]
    assert told["nats"] == 0 and told["answers"] == 48


def test_a_classifier_without_texts_is_said_not_to_be_measured(tmp_path: Path) -> None:
    subject = tiny_classifier()
    same = with_other_weights(subject, copy.deepcopy(subject.module))
    told = guarded(subject, same, replace(tiny_context(tmp_path), splits=())).facts["away_from_before"]
    assert "not_measured" in told


def test_formats_that_leave_the_module_alone_are_left_to_the_runtime(tmp_path: Path) -> None:
    subject, context = tiny_classifier(), tiny_context(tmp_path)
    assert "away_from_before" not in guarded(subject, Int8Dynamic().apply(subject, context), context).facts
