"""The other models of a merge: read by the subject's own family, and refused unless they are its siblings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiku.core import registry
from tiku.core.errors import ModelError
from tiku.core.family import Family
from tiku.core.files import user_path
from tiku.core.method import Context
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support

__all__ = ["NEEDS_OTHERS", "load_other", "load_others", "mergeable", "named", "record"]

NEEDS_OTHERS = Text(
    "needs other models of the same architecture and an exam knows one: name them in a recipe, `tiku apply`",
    "需要同一架构的其他模型，而考试只有一个模型：请在方案中给出，并用 `tiku apply` 执行",
)


def named(models: str) -> list[str]:
    """The paths of a comma-separated list."""
    return [path.strip() for path in models.split(",") if path.strip()]


def mergeable(subject: Subject, models: str, *, base: str | None = None) -> Support:
    """Whether something to merge with is named, and the subject's weights are still plain numbers.
    `base` None: the method needs no common ancestor."""
    if not named(models):
        return Support.no(
            "no other model is named: give the paths of models of the same architecture in the recipe",
            "未指定其他模型：请在方案中给出同一架构的其他模型的路径",
        )
    if base is not None and not base.strip():
        return Support.no(
            "no common ancestor is named: give the path of the model that all were fine-tuned from",
            "未指定共同的初始模型：请给出所有模型微调之前的模型路径",
        )
    if subject.numerics.scheme != "fp32":
        return Support.no(
            f"the model is already {subject.numerics.scheme}; models are merged before they are rounded",
            f"模型已是 {subject.numerics.scheme}；合并须在舍入之前进行",
        )
    return Support.yes()


def load_others(subject: Subject, models: str, context: Context) -> list[Subject]:
    """The models of a comma-separated list. Raises `ModelError`."""
    return [load_other(subject, path, context) for path in named(models)]


def load_other(subject: Subject, path: str, context: Context, *, ancestor: bool = False) -> Subject:
    """A model that fits the subject, tensor by tensor. An `ancestor` may lack the classification head.

    A tiku artefact is opened at its model. Raises `ModelError` when it cannot be loaded, when it is of
    another architecture, speaks other labels, or splits text into other tokens.
    """
    family: Family = registry.get("models", subject.family)
    source = path
    if (user_path(path) / "artefact.json").is_file():
        source = str(user_path(path) / "model")
    other = family.load(source, labels=subject.labels, cache=context.workdir, seed=context.protocol.seed)
    _check_architecture(subject, other, path)
    _check_tokens(subject, other, path)
    if other.facts.get("head") == "new" and not ancestor:
        raise ModelError(
            "a model to merge with has not learned the same classes",
            got=f"{path}: {other.facts.get('head_reason', 'a new head')}",
            allowed=f"a classifier of {', '.join(subject.labels)}",
            next_step="fine-tune it on the same data first",
        )
    return other


def record(subject: Subject, merged: Any, method: str, **facts: Any) -> dict[str, Any]:
    """The facts of a merged subject; `merged` lists the paths."""
    return {**subject.facts, "merged": {"method": method, "models": list(merged), **facts}}


def _check_architecture(subject: Subject, other: Subject, path: str) -> None:
    from tiku.methods.merge._arithmetic import weights_of

    if type(other.module) is not type(subject.module):
        raise _unfit(path, type(other.module).__name__, type(subject.module).__name__)
    own, theirs = (
        {name: tuple(tensor.shape) for name, tensor in weights_of(s.module).items()} for s in (subject, other)
    )
    for name in sorted({*own, *theirs}):
        if own.get(name) != theirs.get(name):
            raise _unfit(path, f"{name} {_shape(theirs.get(name))}", f"{name} {_shape(own.get(name))}")


def _check_tokens(subject: Subject, other: Subject, path: str) -> None:
    both: list[dict[str, int]] = [getattr(s.processor, "get_vocab", dict)() for s in (subject, other)]
    if both[0] != both[1]:
        word = next(iter(sorted(dict(both[0].items() ^ both[1].items()))))
        raise ModelError(
            "models that number their tokens differently cannot be merged",
            got=f"{path}: token {word!r} is {both[1].get(word)}, here {both[0].get(word)}",
            allowed="models with one and the same tokenizer",
            next_step="merge models that were fine-tuned from one ancestor",
        )


def _shape(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else str(list(shape))


def _unfit(path: str, got: str, allowed: str) -> ModelError:
    return ModelError(
        "a model to merge with is of another architecture",
        got=f"{Path(path).name}: {got}",
        allowed=allowed,
        next_step="merge models that were fine-tuned from one ancestor",
    )
