"""What an exam was asked, and whether it was answered before in the same folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tiku.core import registry
from tiku.core.hashing import hash_of
from tiku.core.question import Proposal
from tiku.core.recipe import Recipe
from tiku.examination.command import exam_command
from tiku.examination.ledger import Ledger
from tiku.examination.plan import Plan, Target

__all__ = ["answered_before", "plan_values"]


def plan_values(plan: Plan, target: Target, proposals: Iterable[Proposal]) -> dict[str, Any]:
    """The plan as the result keeps it; the hash of what was proposed tells a method installed since."""
    return {
        "requirements": [r.expr for r in target.requirements],
        "requirements_stated": target.stated,
        "objective": target.objective.name,
        "objective_direction": target.objective.direction,
        "budget": plan.budget,
        "minutes": plan.seconds() / 60,
        "seed": plan.seed,
        "questions": list(plan.questions or registry.names("questions")),
        "proposed": hash_of(sorted({hash_of(p.recipe) for p in proposals})),
        "command": exam_command(plan),
    }


def answered_before(
    plan: Plan, wanted: Mapping[str, Any], base: str, ledger: Ledger
) -> tuple[Recipe, ...] | None:
    """The recipes that the result of the same plan in `plan.out` tells of, in their order; None when there
    is no such result, or the ledger has not every trial it tells of.

    The id of the base trial stands for model, data, protocol and version. The command does not count: it
    names folders, which may have moved.
    """
    try:
        told = json.loads((plan.out / "result.json").read_text(encoding="utf-8"))
        kept = dict(told["plan"])
        known = [ledger.folder(trial["id"]).result() for trial in told["trials"] if trial["id"] != base]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    same = told.get("base") == base and {**kept, "command": ""} == {**wanted, "command": ""}
    recipes = tuple(trial.recipe for trial in known if trial is not None)
    return recipes if same and len(recipes) == len(known) else None
