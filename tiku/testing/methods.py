"""The contract of a method."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiku.core import registry
from tiku.core.config import build_config
from tiku.core.method import STAGES, Context, Method, Situation
from tiku.core.recipe import Recipe
from tiku.core.subject import Subject
from tiku.testing.clauses import bilingual, named_after_file, refusal_explained, settings_hash, weights_hash

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tiku.artefact import OpenedArtefact

__all__ = ["check_declaration", "check_method"]

_TOLERANCE = 1e-3  # of the largest logit, in float32


def check_declaration(kind: type[Method], situation: Situation) -> None:
    """What can be said without running: names, texts, declared parameters, candidates, recipe round trip."""
    where = f"{kind.__module__}.{kind.__qualname__}"
    assert issubclass(kind, Method), f"{where} is not a Method"
    assert dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen, f"{where} is not frozen"  # type: ignore[attr-defined]
    named_after_file(kind.name, kind.__module__)
    bilingual(kind.title, f"{where}.title", name_allowed=True)
    assert kind.stage in STAGES, f"{where}.stage {kind.stage!r} is not one of {STAGES}"
    assert kind.source.strip(), f"{where}.source names no paper or documentation"
    assert 0 <= kind.promise <= 1, f"{where}.promise {kind.promise} is not within 0 … 1"
    unknown = set(kind.questions) - set(registry.names("questions"))
    assert kind.questions and not unknown, f"{where}.questions: {sorted(unknown) or 'none named'}"
    for field in dataclasses.fields(kind):
        _check_parameter(f"{where}.{field.name}", field)
    for candidate in (kind(), *kind.candidates(situation)):
        _check_recipe_round_trip(candidate, where)


def check_method(kind: type[Method], subject: Subject, context: Context) -> None:
    """Run the default config on a subject: input untouched, same seed same hash, survives save and load.

    A refusal (by the method, or by every runtime that could build what it returns) is fine when it
    is explained. `context.workdir` must exist and is written to.
    """
    from tiku.testing.tiny import tiny_texts

    method = kind()
    subject = replace(subject, serve=replace(subject.serve, threads=context.protocol.threads))
    support = method.supports(subject)
    refusal_explained(support, kind.name)
    if not support:
        return
    before = (weights_hash(subject.module), settings_hash(subject))
    first = method.apply(subject, _in(context, "first"))
    assert (weights_hash(subject.module), settings_hash(subject)) == before, (
        f"{kind.name} changed the subject it was given"
    )
    second = method.apply(subject, _in(context, "second"))
    assert _identity(first) == _identity(second), f"{kind.name}: the same seed gave two different models"
    texts = tiny_texts(12, seed=5)
    built = list(_built(first))
    assert built or method.stage == "compress", f"{kind.name}: no runtime builds what it returns"
    for candidate in built:
        _check_round_trip(kind.name, candidate, context.workdir / f"artefact-{candidate.runtime}", texts)


def _check_parameter(where: str, field: dataclasses.Field[Any]) -> None:
    meta = field.metadata
    assert meta.get("help"), f"{where} has no help: declare it with tiku.core.config.param"
    free = isinstance(field.default, bool | str)
    bounded = meta.get("choices") is not None or meta.get("low") is not None or meta.get("high") is not None
    assert free or bounded, f"{where} declares neither a range nor choices"


def _check_recipe_round_trip(method: Method, where: str) -> None:
    import yaml

    from tiku.artefact.recipe_file import recipe_text

    kind = type(method)
    (step,) = yaml.safe_load(recipe_text(Recipe.of(method)))["steps"]
    again = build_config(kind, step["config"], name=kind.name)
    assert again == method, f"{where}: {method} does not survive recipe.yaml"


def _in(context: Context, name: str) -> Context:
    workdir = context.workdir / name
    workdir.mkdir(exist_ok=True)
    return replace(context, workdir=workdir)


def _identity(subject: Subject) -> tuple[str, str]:
    # measured settings (threads, batch size) may differ between two runs of the same seed
    return weights_hash(subject.module), settings_hash(subject, leave_out=("serve", "facts"))


def _built(subject: Subject) -> Iterator[Subject]:
    """The subject in its own runtime; where that refuses its numerics, in every runtime that takes it."""
    own = registry.get("runtimes", subject.runtime).supports(subject)
    refusal_explained(own, f"runtime {subject.runtime}")
    if own:
        yield subject
        return
    for name in registry.names("runtimes"):
        other = replace(subject, runtime=name, runtime_options={})
        support = registry.get("runtimes", name).supports(other)
        refusal_explained(support, f"runtime {name}")
        if support:
            yield other


def _outputs(opened: OpenedArtefact, texts: list[str]) -> NDArray[np.float32]:
    """Logits of the classes, or of a language model's next token."""
    from tiku.artefact.check import answers

    if opened.task == "causal-lm":
        return answers(opened.session, _batch(opened, texts), opened.task)
    return opened.predict(texts)


def _batch(opened: OpenedArtefact, texts: list[str]) -> dict[str, NDArray[Any]]:
    """Of a language model's texts the longer half, cut to one length: what it answers after padding means
    nothing, and runtimes need not compute it."""
    encodings = opened.encode(texts)
    if opened.task == "causal-lm":
        encodings.sort(key=lambda encoding: len(encoding["input_ids"]))
        longer = encodings[len(encodings) // 2 :]
        width = len(longer[0]["input_ids"])
        encodings = [{name: ids[:width] for name, ids in encoding.items()} for encoding in longer]
    return opened.collate(encodings)


def _check_round_trip(name: str, subject: Subject, folder: Path, texts: list[str]) -> None:
    import numpy as np

    from tiku.artefact import open_artefact, write
    from tiku.artefact.check import module_logits

    write(subject, folder, recipe=Recipe(), examples=texts)
    opened = open_artefact(folder)
    again = open_artefact(folder)
    try:
        logits = _outputs(opened, texts)
        assert np.array_equal(logits, _outputs(again, texts)), f"{name}: two openings of one artefact differ"
        if subject.numerics.scheme == "fp32":
            own = module_logits(subject, _batch(opened, texts))
            away, scale = np.abs(logits - own).max(), max(1.0, np.abs(own).max())
            assert away <= _TOLERANCE * scale, f"{name}: the artefact differs from the module by {away:.3g}"
    finally:
        opened.close()
        again.close()
