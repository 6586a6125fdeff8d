from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.cases import LABELS, Bag, bag_subject, context, letters
from tiku.core.config import build_config
from tiku.core.data import Dataset
from tiku.core.errors import BadInput, DataError, ModelError, RecipeError, TikuError
from tiku.core.method import Context
from tiku.core.protocol import Protocol
from tiku.core.subject import Subject
from tiku.data.labelled_texts import LabelledTexts
from tiku.training import TrainOptions, train

GOOD = letters(["ab", "cd", "ef"], [0, 1, 0])
FAST = TrainOptions(epochs=1, min_steps=0, precision="fp32")


def frozen() -> torch.nn.Module:
    return Bag().requires_grad_(False)


class Unlabelled(LabelledTexts):
    def targets(self) -> None:
        return None


CASES = [
    (bag_subject(), letters([], []), DataError, "nothing to train on"),
    (bag_subject(), letters(["a", "b"], [1, 1]), DataError, "the same class"),
    (bag_subject(), letters(["a", "b"], [0, 2]), DataError, "out of range"),
    (bag_subject(), letters(["a", "b"], [0, -1]), DataError, "out of range"),
    (bag_subject(), letters(["a", "b"], [0, 1], ("good", "bad")), DataError, "not the model's"),
    (bag_subject(), Unlabelled("u", ("a",), np.zeros(1, np.int64), LABELS), DataError, "no labels"),
    (bag_subject(frozen()), GOOD, ModelError, "no trainable parameter"),
    (bag_subject(Bag(3)), GOOD, ModelError, "one score per class"),
]


@pytest.mark.parametrize(("subject", "data", "kind", "part"), CASES)
def test_unusable_input_is_refused_with_what_got_allowed_and_next(
    subject: Subject, data: Dataset, kind: type[TikuError], part: str, tmp_path: Path
) -> None:
    with pytest.raises(kind) as caught:
        train(subject, data, None, FAST, context(tmp_path))
    parts = caught.value.parts()
    assert part in parts["what"] and parts["got"] and parts["next"]


def test_a_validation_label_out_of_range_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="out of range"):
        train(bag_subject(), GOOD, letters(["a"], [7]), FAST, context(tmp_path))


def test_weights_that_are_not_finite_stop_the_run_at_once(tmp_path: Path) -> None:
    module = Bag()
    with torch.no_grad():
        module.head.weight[0, 0] = float("nan")
    with pytest.raises(TikuError, match="diverged") as caught:
        train(bag_subject(module), GOOD, None, FAST, context(tmp_path))
    assert "step 1" in caught.value.parts()["got"] and "learning_rate" in caught.value.parts()["next"]


class Exploding(torch.nn.Module):
    """Finite scores whose gradient is not."""

    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(2))

    def forward(self, letters: torch.Tensor) -> torch.Tensor:
        return self.w.abs().sqrt().expand(len(letters), 2)


def test_a_gradient_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(TikuError, match="gradient"):
        train(bag_subject(Exploding()), GOOD, None, FAST, context(tmp_path))


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    on_gpu = Context((), Protocol(device="cuda"), tmp_path)
    with pytest.raises(BadInput, match="no such device"):
        train(bag_subject(), GOOD, None, FAST, on_gpu)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0), ("epochs", 1.5), ("learning_rate", 0.0), ("learning_rate", float("nan")),
        ("warmup", 1.1), ("batch_tokens", 1), ("layer_decay", 0.0), ("label_smoothing", 0.9),
        ("decay", "step"), ("max_length", 1), ("class_weights", "auto"), ("precision", "fp16"),
        ("weight_decay", -0.1), ("momentum", 0.9),
    ],
)  # fmt: skip
def test_options_outside_their_range_are_refused(name: str, value: object) -> None:
    with pytest.raises(RecipeError, match=name):
        build_config(TrainOptions, {name: value}, name="finetune")
