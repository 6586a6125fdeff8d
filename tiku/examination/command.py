"""The command lines that repeat an exam, a question and a trial: every flag that matters, quoted."""

from __future__ import annotations

import shlex
from pathlib import Path

from tiku.examination.plan import Plan

__all__ = ["apply_command", "exam_command"]

_FLAGS = {
    "text": "--text", "text_pair": "--text-pair", "label": "--label", "group": "--group", "split": "--split",
    "context": "--context", "options": "--options", "answer": "--answer",
}  # fmt: skip


def exam_command(plan: Plan) -> str:
    """`tiku exam` with the plan's flags; defaults are left out."""
    words = ["tiku", "exam", *_inputs(plan)]
    words += [word for text in plan.require for word in ("--require", text)]
    words += _optional({"--minimize": plan.minimize, "--maximize": plan.maximize, "--minutes": plan.minutes})
    return shlex.join([*words, "--out", str(plan.out)])


def apply_command(plan: Plan, recipe: Path) -> str:
    """`tiku apply` of a saved recipe to the plan's model and data."""
    return shlex.join(["tiku", "apply", str(recipe), *_inputs(plan), "--out", "DIR"])


def _inputs(plan: Plan) -> list[str]:
    words = [plan.model, *(word for data in plan.data for word in ("--data", data))]
    words += _optional({_FLAGS[name]: plan.columns[name] for name in _FLAGS if name in plan.columns})
    words += [word for name in plan.columns.get("slices") or () for word in ("--slice", name)]
    label_map = plan.columns.get("label_map") or {}
    words += [word for old, new in label_map.items() for word in ("--label-map", f"{old}={new}")]
    device = None if plan.device == "auto" else plan.device
    words += _optional({"--task": plan.task, "--threads": plan.threads, "--device": device})
    return [*words, "--budget", plan.budget, "--seed", str(plan.seed)]


def _optional(flags: dict[str, object]) -> list[str]:
    return [word for flag, value in flags.items() if value is not None for word in (flag, str(value))]
