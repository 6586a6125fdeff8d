"""`check`: a result as a CI gate. It fails closed: what is missing or was not measured has failed."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tiku.core.errors import BadInput, UnknownName
from tiku.core.instrument import all_metrics
from tiku.core.metric import Metric
from tiku.core.registry import closest
from tiku.core.requirement import evaluate, parse_requirement
from tiku.core.result import RequirementOutcome, Result
from tiku.core.text import Language, Text
from tiku.report.numbers import show_measured
from tiku.report.words import ANSWER_WORDS, DECISION_WORDS, MET_WORDS

__all__ = ["CheckOutcome", "Gate", "Line", "check", "print_outcome", "read_gate"]

_KEYS = ("require", "questions", "decision")
_DECISIONS = ("ship", "any")
_EXAMPLE = '[gate], and below it require = ["accuracy >= 0.9"]'


@dataclass(frozen=True)
class Gate:
    """What a gate file asks beyond the exam's own requirements.

    `require` are further requirements, `questions` ids that must read "pass", `decision` is "ship"
    (the exam's decision must be that) or "any".
    """

    require: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    decision: Literal["ship", "any"] = "ship"


@dataclass(frozen=True)
class Line:
    """One thing checked. `met` None: it could not be measured or cannot be told."""

    kind: Literal["requirement", "question", "decision"]
    name: str
    met: bool | None
    found: Text
    reason: Text | None = None


@dataclass(frozen=True)
class CheckOutcome:
    """Every line of the gate."""

    run_id: str
    lines: tuple[Line, ...] = field(default_factory=tuple)

    @property
    def exit_code(self) -> int:
        """0 when all is met, 1 when something failed, 3 when something could not be measured."""
        if any(line.met is False for line in self.lines):
            return 1
        return 3 if any(line.met is None for line in self.lines) else 0

    @property
    def ok(self) -> bool:
        """Whether the gate opens."""
        return self.exit_code == 0

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        lines = [
            {
                "kind": line.kind,
                "name": line.name,
                "met": line.met,
                "found": {"en": line.found.en, "zh": line.found.zh},
                "reason": None if line.reason is None else {"en": line.reason.en, "zh": line.reason.zh},
            }
            for line in self.lines
        ]
        return {"run_id": self.run_id, "ok": self.ok, "exit_code": self.exit_code, "lines": lines}


def check(result: Result, gate: Gate | Path | None = None) -> CheckOutcome:
    """Check the exam's own requirements, its decision, and what the gate adds.

    Raises `BadInput`, `RequirementError`, `UnknownName` for a gate that cannot be read or asks for
    a metric or a question that does not exist.
    """
    asked = gate if isinstance(gate, Gate) else read_gate(gate) if gate is not None else Gate()
    lines = [_own(text, result) for text in result.plan["requirements"]]
    metrics = all_metrics() if asked.require else {}
    lines += [_asked(text, result, metrics) for text in asked.require]
    lines += [_question(name, result) for name in asked.questions]
    if asked.decision == "ship":
        lines.append(_decision(result))
    if not lines:
        raise BadInput(
            "this gate checks nothing",
            got='decision = "any" and no requirement',
            allowed="a requirement, a question or the decision",
            next_step='add require = ["accuracy >= 0.9"] to the [gate] table',
        )
    return CheckOutcome(result.run_id, tuple(lines))


def read_gate(path: Path) -> Gate:
    """The `[gate]` table of a TOML file. Raises `BadInput`."""
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BadInput(
            "the gate file cannot be read",
            got=f"{path}: {error.strerror}",
            allowed="a TOML file",
            next_step="check the path",
        ) from error
    except ValueError as error:  # UnicodeDecodeError and TOMLDecodeError are ValueErrors
        raise BadInput(
            "the gate file is not valid TOML",
            got=f"{path}: {error}",
            allowed=_EXAMPLE,
            next_step="correct this line",
        ) from error
    table = values.get("gate")
    if not isinstance(table, dict):
        raise BadInput(
            "the gate file has no [gate] table",
            got=", ".join(values) or "nothing",
            allowed="[gate]",
            next_step=f"write it like this: {_EXAMPLE}",
        )
    return _gate(table)


def print_outcome(outcome: CheckOutcome, *, language: Language = "en") -> None:
    """One line per thing checked, on stdout."""
    from rich.table import Table
    from rich.text import Text as Styled

    from tiku.report.terminal import STYLES, console

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for line in outcome.lines:
        style = STYLES[{True: "pass", False: "fail", None: "inconclusive"}[line.met]]
        found = line.found[language] + (f" ({line.reason[language]})" if line.reason else "")
        table.add_row(Styled(MET_WORDS[line.met][language], style), Styled(line.name), Styled(found))
    out = console()
    out.print(table)
    verdict = _VERDICTS[outcome.exit_code]
    out.print(Styled(verdict[language], STYLES["pass" if outcome.ok else "fail"]))


_VERDICTS = {
    0: Text("the gate is open", "门禁通过"),
    1: Text("the gate is closed: a requirement failed", "门禁不通过：有要求未达到"),
    3: Text("the gate is closed: something could not be measured", "门禁不通过：有内容无法测得"),
}


def _gate(table: Mapping[str, Any]) -> Gate:
    for key in table:
        if key not in _KEYS:
            raise BadInput(
                "the [gate] table has an unknown key",
                got=key,
                allowed=_KEYS,
                next_step=closest(key, _KEYS) or "remove it",
            )
    decision = table.get("decision", "ship")
    if decision not in _DECISIONS:
        raise BadInput(
            "decision is not one of its choices",
            got=decision,
            allowed=_DECISIONS,
            next_step="choose one of these",
        )
    return Gate(_words(table, "require"), _words(table, "questions"), decision)


def _words(table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values = table.get(key, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise BadInput(
            f"{key} is not a list of texts",
            got=values,
            allowed=f'{key} = ["…"]',
            next_step="put the texts in quotes, in square brackets",
        )
    return tuple(values)


def _own(text: str, result: Result) -> Line:
    outcome = next((o for o in result.requirements if o.expr == text), None)
    if outcome is None:
        missing = Text("the result does not decide it", "结果中没有对它的判定")
        return Line("requirement", text, None, Text("nothing", "无"), missing)
    return _line(outcome)


def _asked(text: str, result: Result, metrics: Mapping[str, Metric]) -> Line:
    requirement = parse_requirement(text, metrics)
    name, confirmed = requirement.metric.name, result.confirmation
    if confirmed is not None:
        observed, compared = confirmed.metrics.get(name), confirmed.against_base.get(name)
        base = confirmed.base_metrics.get(name)
        return _line(evaluate(requirement, observed, base=base, against_base=compared, on="test"))
    trial = result.trial(result.chosen or result.base)
    observed, compared = trial.metrics.get(name), trial.against_base.get(name)
    base = result.trial(result.base).metrics.get(name)
    return _line(evaluate(requirement, observed, base=base, against_base=compared))


def _line(outcome: RequirementOutcome) -> Line:
    if outcome.observed is None:
        return Line("requirement", outcome.expr, None, Text("nothing", "无"), outcome.reason)
    shown = str(show_measured(outcome.observed))
    return Line("requirement", outcome.expr, outcome.met, Text(shown, shown), outcome.reason)


def _question(name: str, result: Result) -> Line:
    if name not in result.questions:
        raise UnknownName(
            "the result holds no question of this name",
            got=name,
            allowed=result.questions,
            next_step=closest(name, result.questions) or "choose one of these",
        )
    verdict = result.questions[name].verdict
    met = {"pass": True, "fail": False}.get(verdict)
    return Line("question", name, met, ANSWER_WORDS[verdict])


def _decision(result: Result) -> Line:
    """The decision, unless the result itself contradicts it: SHIP stands on a proven artefact."""
    met = {"ship": True, "do not ship": False, "cannot tell": None}[result.decision]
    reason = result.reasons[0] if result.reasons and met is not True else None
    if met:
        met, reason = _proven(result)
    return Line("decision", "ship", met, DECISION_WORDS[result.decision], reason)


def _proven(result: Result) -> tuple[bool | None, Text | None]:
    if result.confirmation is None:
        return None, Text("nothing was confirmed on the test split", "未在测试集上确认")
    found = result.confirmation.artefact_check
    if found.get("ok", True) and found.get("hashes_ok") is True:
        return True, None
    return False, Text("the artefact did not pass its own check", "成品未通过自检")
