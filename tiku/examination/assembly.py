"""From what was measured to the result that others read: answers, decision, artefact."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tiku.core import registry
from tiku.core.files import atomic_folder
from tiku.core.hashing import hash_of
from tiku.core.locking import locked
from tiku.core.question import Evidence, Question, serves
from tiku.core.recipe import Recipe
from tiku.core.result import Answer, Confirmation, Decision, Result, Trial
from tiku.core.text import Text
from tiku.examination.command import apply_command
from tiku.examination.exam import Findings
from tiku.examination.ledger import Ledger
from tiku.examination.repeating import plan_values
from tiku.examination.search import interactions
from tiku.version import __version__

__all__ = ["assemble", "deliver", "delivering"]

_NOT_ASKED = Text("Not measured: this run did not ask the question.", "未测量：本次运行未问此题。")


def assemble(findings: Findings, *, started: str, finished: str) -> Result:
    """The result, answers included. Writes nothing."""
    from tiku.measure.machine import environment

    machine = environment(findings.plan.threads)
    decision, reasons = _decide(findings)
    objective = findings.target.objective
    plan = plan_values(findings.plan, findings.target, findings.proposals)
    return Result(
        tiku=__version__,
        run_id=hash_of(findings.prepared.model_sha, findings.prepared.data_sha, plan)[:16],
        started=started,
        finished=finished,
        environment=machine,
        model=_model_values(findings),
        data=_data_values(findings),
        plan=plan,
        base=findings.base.id,
        chosen=findings.choice.trial.id if findings.choice.trial else None,
        decision=decision,
        reasons=reasons,
        requirements=findings.outcomes,
        questions=_answers(findings, machine),
        trials=tuple(replace(t, command=_command(findings, t)) for t in (findings.base, *findings.trials)),
        interactions=interactions(findings.trials, findings.base, objective),
        confirmation=findings.confirmation,
        warnings=_warnings(findings),
        errors=tuple(
            f"{t.recipe}: {t.reason.en}" for t in findings.trials if t.status == "failed" and t.reason
        ),
    )


def deliver(result: Result, findings: Findings, ledger: Ledger) -> Result:
    """Copy the chosen build to `out/artefact`, load it in a fresh process, compare its outputs.

    The returned result carries the check; one that fails turns the decision into "do not ship".
    """
    from tiku.artefact import verify

    chosen, confirmation = findings.choice.trial, findings.confirmation
    target = findings.plan.out / "artefact"
    if chosen is None or confirmation is None:
        return result
    with atomic_folder(target) as staging:
        shutil.copytree(ledger.folder(chosen.id).build, staging, dirs_exist_ok=True)
    check = verify(target).to_json()
    confirmed: Confirmation = replace(confirmation, artefact_check=check)
    if check["ok"]:
        return replace(result, confirmation=confirmed)
    failed = Text("the artefact failed its own check in a fresh process", "成品在新进程中未通过自检")
    return replace(result, confirmation=confirmed, decision="do not ship", reasons=(failed, *result.reasons))


@contextmanager
def delivering(out: Path) -> Iterator[None]:
    """One exam at a time writes into `out`; what a killed one left half-written is cleared away."""
    with locked(out / ".lock"):
        for rubbish in (*out.glob(".artefact.*"), *out.glob(".result.json.*"), *out.glob(".report.html.*")):
            if rubbish.is_dir():
                shutil.rmtree(rubbish, ignore_errors=True)
            else:
                rubbish.unlink(missing_ok=True)
        yield


def _answers(findings: Findings, machine: Mapping[str, Any]) -> dict[str, Answer]:
    asked = findings.plan.questions or registry.names("questions")
    answers = {}
    for name in registry.names("questions"):
        question: Question = registry.get("questions", name)
        asked_it = name in asked
        answers[name] = (
            question.decide(_evidence(findings, name, machine))
            if asked_it
            else Answer("not measured", _NOT_ASKED)
        )
    return answers


def _evidence(findings: Findings, question: str, machine: Mapping[str, Any]) -> Evidence:
    base = findings.base
    own = [p.recipe for p in findings.proposals if p.question == question]
    missing = {hash_of(r) for r in findings.not_run}
    asked: dict[str, set[str]] = {}  # which questions proposed a recipe; a join was proposed by none
    for p in findings.proposals:
        asked.setdefault(hash_of(base.recipe.plus(*p.recipe.methods())), set()).add(p.question)
    mine = tuple(
        t
        for t in findings.trials
        if question in asked.get(hash_of(t.recipe), {question} if serves(_own(t, base), question) else ())
    )
    return Evidence(
        situation=findings.situation,
        base=base,
        trials=mine,
        requirements=findings.outcomes,
        metrics=findings.target.metrics,
        objective=findings.target.objective.name,
        environment=machine,
        not_run=tuple(r for r in own if hash_of(r) in missing),
        others=tuple(t for t in findings.trials if t not in mine),
    )


def _decide(findings: Findings) -> tuple[Decision, tuple[Text, ...]]:
    """Ship when every requirement is met on the test split; never on a missing number."""
    if findings.choice.trial is None:
        return "do not ship", (_nearest_miss(findings), *_told(findings, False))
    if not findings.plan.search:
        return "cannot tell", (
            Text("only questions were asked; nothing was confirmed on test", "仅回答问题，未在测试集上确认"),
        )
    if findings.confirmation is None:
        return "cannot tell", (Text("the confirmation on test did not finish", "测试集上的确认未完成"),)
    if any(o.met is False for o in findings.outcomes):
        return "do not ship", _told(findings, False)
    if any(o.met is None for o in findings.outcomes):
        return "cannot tell", _told(findings, None)
    return "ship", _told(findings, True)


def _told(findings: Findings, met: bool | None) -> tuple[Text, ...]:
    texts = []
    words = {True: ("met", "满足"), False: ("missed", "不满足"), None: ("cannot be told", "无法判断")}[met]
    for outcome in findings.outcomes:
        if outcome.met is met:
            why = outcome.reason
            texts.append(
                Text(
                    f"{outcome.expr}: {words[0]} on {outcome.on}" + (f" ({why.en})" if why else ""),
                    f"{outcome.expr}：在 {outcome.on} 上{words[1]}" + (f"（{why.zh}）" if why else ""),
                )
            )
    return tuple(texts)


def _nearest_miss(findings: Findings) -> Text:
    miss = findings.choice.nearest_miss
    name = str(_own(miss, findings.base)) if miss else "base"
    return Text(
        f"no measured recipe meets the requirements; the nearest miss is {name}",
        f"没有已测方案满足要求；最接近的是 {name}",
    )


def _own(trial: Trial, base: Trial) -> Recipe:
    steps = tuple(s for s in trial.recipe.steps if s not in base.recipe.steps)
    return replace(trial.recipe, steps=steps)


def _model_values(findings: Findings) -> dict[str, Any]:
    prepared = findings.prepared
    return {
        "name": findings.plan.model,
        "family": prepared.family,
        "task": prepared.task,
        "parameters": int(prepared.facts.get("parameters") or 0),
        "sha256": prepared.model_sha,
        "facts": dict(prepared.facts),
    }


def _data_values(findings: Findings) -> dict[str, Any]:
    splits = findings.inputs.splits
    parts = [
        {
            "name": s.name,
            "kind": s.train.kind,
            "sha256": hash_of(
                [s.train.sha256(), s.calibration.sha256(), s.validation.sha256(), s.test.sha256()]
            ),
            "splits": s.sizes(),
            "facts": dict(s.report.facts),
            "guesses": list(s.report.guesses),
        }
        for s in splits
    ]
    return {
        "name": " + ".join(s.name for s in splits),
        "sha256": findings.prepared.data_sha,
        "splits": dict(findings.situation.split_sizes),
        "labels": list(findings.inputs.labels),
        "parts": parts,
    }


def _warnings(findings: Findings) -> tuple[Text, ...]:
    found = [w for s in findings.inputs.splits for w in s.report.warnings] + list(findings.notes)
    if findings.not_run:
        names = ", ".join(str(r) for r in findings.not_run)
        found.append(Text(f"the budget left no room for: {names}", f"预算不足，未测：{names}"))
    return tuple(found)


def _command(findings: Findings, trial: Trial) -> str:
    plan = findings.plan
    return apply_command(plan, plan.out / "trials" / trial.id / "build" / "recipe.yaml")
