"""What must be known of model and data before the base: kept, so that a second run loads no model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from tiku.core import registry
from tiku.core.config import build_config
from tiku.core.files import write_json
from tiku.core.hashing import hash_of
from tiku.core.method import Method, Progress, Situation
from tiku.core.recipe import Recipe
from tiku.core.subject import Subject
from tiku.core.task import TASKS
from tiku.examination.inputs import Inputs
from tiku.examination.plan import Plan, target_for

__all__ = ["Prepared", "prepare"]

_COUNTED = 256  # texts of each dataset


@dataclass(frozen=True)
class Prepared:
    """Identity and facts of the model and the data. `base_recipe` trains a model whose head is new."""

    model_sha: str
    data_sha: str
    task: str
    family: str
    base_recipe: Recipe
    facts: Mapping[str, Any] = field(default_factory=dict)

    def situation(self, inputs: Inputs, plan: Plan) -> Situation:
        """What methods and questions propose from."""
        sizes: dict[str, int] = {}
        for splits in inputs.splits:
            for name, count in splits.sizes().items():
                sizes[name] = sizes.get(name, 0) + count
        return Situation(
            self.task, self.family, plan.device, int(self.facts.get("parameters") or 0), inputs.labels,
            sizes, plan.budget, self.facts,
        )  # fmt: skip


def prepare(inputs: Inputs, plan: Plan, progress: Progress) -> Prepared:
    """Read from the exam's folder when nothing changed, else load the model once and look.

    Raises `RequirementError` for a metric that the task does not have, before anything is written.
    """
    if inputs.family.task in TASKS:  # some sources state their own task only when they are loaded
        target_for(plan, TASKS[inputs.family.task])
    progress(0, 1, "fingerprint")
    model_sha, data_sha = inputs.model_sha(), inputs.data_sha()
    key = hash_of(model_sha, data_sha, plan.finetune, plan.seed)[:16]
    path = plan.out / "prepared" / f"{key}.json"
    if (known := _read(path)) is not None:
        return known
    progress(0, 1, "load the model")
    subject = inputs.load_subject(plan.seed)
    facts = {**subject.facts, **_lengths(inputs, subject)}
    train = facts.get("head") == "new" or bool(plan.finetune)
    recipe = Recipe.of(_finetune(plan.finetune)) if train else Recipe()
    prepared = Prepared(model_sha, data_sha, subject.task, subject.family, recipe, facts)
    write_json(path, prepared)
    return prepared


def _lengths(inputs: Inputs, subject: Subject) -> dict[str, float]:
    """How long the texts of a classifier are, in tokens: some calibration texts on average."""
    if subject.task != "text-classification":
        return {}
    texts = [text for splits in inputs.splits for text in splits.calibration.inputs()[:_COUNTED]]
    encodings = inputs.family.encode(subject.processor, texts, None)
    counts = [len(next(iter(encoding.values()))) for encoding in encodings]
    return {"mean_tokens": sum(counts) / len(counts)} if counts else {}


def _finetune(config: Mapping[str, Any]) -> Method:
    kind: type[Method] = registry.get("methods", "finetune")
    return build_config(kind, config, name="finetune")


def _read(path: Path) -> Prepared | None:
    try:
        return msgspec.convert(json.loads(path.read_text(encoding="utf-8")), Prepared)
    except (OSError, ValueError, msgspec.ValidationError):
        return None
