"""What an exam was asked, and whether it was answered before in the same folder."""

from __future__ import annotations

import json
from typing import Any

from tiku.core import registry
from tiku.examination.command import exam_command
from tiku.examination.ledger import Ledger
from tiku.examination.plan import Plan, Target

__all__ = ["answered_before", "plan_values"]


def plan_values(plan: Plan, target: Target) -> dict[str, Any]:
    """The plan as the result keeps it."""
    return {
        "requirements": [r.expr for r in target.requirements],
        "requirements_stated": target.stated,
        "objective": target.objective.name,
        "objective_direction": target.objective.direction,
        "budget": plan.budget,
        "minutes": plan.seconds() / 60,
        "seed": plan.seed,
        "questions": list(plan.questions or registry.names("questions")),
        "command": exam_command(plan),
    }


def answered_before(plan: Plan, target: Target, base: str, ledger: Ledger) -> bool:
    """Whether `plan.out` holds the result of the same plan, and the ledger every trial it tells of.

    The id of the base trial stands for model, data, protocol and version. The command does not count: it
    names folders, which may have moved.
    """
    try:
        told = json.loads((plan.out / "result.json").read_text(encoding="utf-8"))
        kept, wanted = dict(told["plan"]), plan_values(plan, target)
        whole = all(ledger.folder(trial["id"]).result() is not None for trial in told["trials"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return whole and told.get("base") == base and {**kept, "command": ""} == {**wanted, "command": ""}
