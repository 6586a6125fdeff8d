"""Builds a recipe: load the parent's model, apply the steps, write the artefact folder."""

from __future__ import annotations

from dataclasses import replace

from tiku.core import registry
from tiku.core.data import Splits
from tiku.core.method import Context, Method, Progress
from tiku.core.protocol import Protocol
from tiku.core.recipe import Recipe
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.examination.guarding import guarded
from tiku.examination.inputs import Inputs
from tiku.examination.ledger import Ledger, TrialFolder, TrialSpec

__all__ = ["Refused", "apply_recipe", "build", "without_test"]


class Refused(Exception):
    """A method or a runtime said no; the reason is recorded, the exam goes on."""

    def __init__(self, reason: Text) -> None:
        super().__init__(reason.en)
        self.reason = reason


def build(spec: TrialSpec, inputs: Inputs, ledger: Ledger, folder: TrialFolder, progress: Progress) -> None:
    """Write `folder.build`. Raises `Refused`, `TikuError`."""
    from tiku.artefact import load_subject, write

    done: tuple[Method, ...] = ()
    if spec.parent is not None:
        parent = ledger.folder(spec.parent)
        done = parent.spec().recipe.methods()
        subject = load_subject(parent.build)
    else:
        subject = inputs.load_subject(spec.protocol.seed)
    workdir = folder.path / "work"
    workdir.mkdir(exist_ok=True)
    context = Context(without_test(inputs.splits), spec.protocol, workdir, progress)
    rest = Recipe.of(*spec.recipe.methods()[len(done) :])
    write(apply_recipe(rest, subject, context), folder.build, recipe=spec.recipe, examples=inputs.examples())


def without_test(splits: tuple[Splits, ...]) -> tuple[Splits, ...]:
    """What a method may see: the test part is empty, so that none can learn from it or choose by it."""
    return tuple(replace(one, test=one.test.take([])) for one in splits)


def apply_recipe(recipe: Recipe, subject: Subject, context: Context) -> Subject:
    """Apply the steps in order. Raises `Refused` when a method or the final runtime says no, and `ModelError`
    when a new number format makes the model answer garbage."""
    subject = _with_protocol(subject, context.protocol)
    for method in recipe.methods():
        _insist(method.supports(subject))
        subject = guarded(subject, method.apply(subject, context), context)
    _insist(registry.get("runtimes", subject.runtime).supports(subject))
    return subject


def _with_protocol(subject: Subject, protocol: Protocol) -> Subject:
    if protocol.threads is None or subject.serve.threads is not None:
        return subject
    return replace(subject, serve=replace(subject.serve, threads=protocol.threads))


def _insist(support: Support) -> None:
    if not support:
        assert support.reason is not None  # Support guarantees it
        raise Refused(support.reason)
