"""The suites themselves: each clause fails on an object that breaks it."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from tiku.core import registry
from tiku.core.config import param
from tiku.core.instrument import Instrument
from tiku.core.method import Method, Situation
from tiku.core.metric import Metric
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.runtimes.torch import Torch
from tiku.testing import (
    check_declaration,
    check_instrument,
    check_method,
    check_runtime,
    tiny_classifier,
    tiny_context,
)

_SITUATION = Situation("text-classification", "text-classification", "cpu", 1)
_FILE = __name__.rpartition(".")[2].replace("_", "-")


@dataclass(frozen=True)
class _Sound(Method):
    name: ClassVar[str] = _FILE
    stage = "serve"
    questions = ("inference",)
    title = Text("Sound", "合规")
    source = "this test"

    amount: int = param(1, "how much", low=1, high=9)

    def supports(self, subject):
        return Support.yes()

    def apply(self, subject, context):
        return replace(subject, facts={**subject.facts, "amount": self.amount})


def test_sound_method_passes(tmp_path):
    check_declaration(_Sound, _SITUATION)
    check_method(_Sound, tiny_classifier(), tiny_context(tmp_path))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"name": "another-name"}, "not the file's name"),
        ({"title": Text("Sound", "Sound?")}, "no Chinese"),
        ({"source": " "}, "source"),
        ({"questions": ("no-such-question",)}, "questions"),
        ({"stage": "polish"}, "stage"),
    ],
)
def test_careless_declaration_is_caught(change, complaint):
    kind = dataclass(frozen=True)(type("Careless", (_Sound,), {"__module__": __name__, **change}))
    with pytest.raises(AssertionError, match=complaint):
        check_declaration(kind, _SITUATION)


def test_parameter_without_help_or_range_is_caught():
    @dataclass(frozen=True)
    class Bare(_Sound):
        width: float = 1.0

    with pytest.raises(AssertionError, match="no help"):
        check_declaration(Bare, _SITUATION)

    @dataclass(frozen=True)
    class Boundless(_Sound):
        width: float = param(1.0, "how wide")

    with pytest.raises(AssertionError, match="neither a range nor choices"):
        check_declaration(Boundless, _SITUATION)


def test_method_that_changes_its_input_is_caught(tmp_path):
    class InPlace(_Sound):
        def apply(self, subject, context):
            next(subject.module.parameters()).data.add_(1.0)
            return subject

    with pytest.raises(AssertionError, match="changed the subject"):
        check_method(InPlace, tiny_classifier(), tiny_context(tmp_path))


def test_method_without_a_fixed_seed_is_caught(tmp_path):
    import copy

    import torch

    class Drifting(_Sound):
        def apply(self, subject, context):
            module = copy.deepcopy(subject.module)
            module.classifier.bias.data.add_(torch.rand(()))
            return replace(subject, module=module)

    with pytest.raises(AssertionError, match="two different models"):
        check_method(Drifting, tiny_classifier(), tiny_context(tmp_path))


def test_refusal_in_one_language_is_caught(tmp_path):
    class Curt(_Sound):
        def supports(self, subject):
            return Support.no("no", "no")

    with pytest.raises(AssertionError, match="no Chinese"):
        check_method(Curt, tiny_classifier(), tiny_context(tmp_path))


def test_runtime_that_computes_something_else_is_caught(tmp_path):
    class Off(Torch):
        def open(self, folder, **settings):
            session = super().open(folder, **settings)
            session.module.classifier.bias.data.add_(0.5)
            return session

    Off.__module__ = Torch.__module__
    with pytest.raises(AssertionError, match="does not compute what the module does"):
        check_runtime(Off(), tiny_classifier(), tmp_path)


def test_instrument_with_an_unknown_unit_is_caught():
    class Odd(Instrument):
        name = _FILE
        metrics = (Metric("weight", "stone", "lower", Text("Weight", "重量")),)

        def supports(self, bench):
            return Support.yes()

        def measure(self, bench):
            raise NotImplementedError

    with pytest.raises(AssertionError, match="unit"):
        check_instrument(Odd())


def test_registry_groups_used_above_are_not_empty():
    assert all(registry.names(group) for group in ("methods", "runtimes", "models", "metrics"))
