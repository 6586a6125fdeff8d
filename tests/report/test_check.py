from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tiku.core.errors import BadInput, RequirementError, UnknownName
from tiku.core.result import RequirementOutcome, Result
from tiku.core.text import Text
from tiku.report.check import Gate, check, print_outcome

from .builder import build_result


def with_first(result: Result, **changes: object) -> Result:
    """The result with its first requirement changed."""
    first, *others = result.requirements
    return replace(result, requirements=(replace(first, **changes), *others))  # type: ignore[arg-type]


def gate_file(folder: Path, text: str) -> Path:
    path = folder / "tiku.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_result_that_meets_everything_passes() -> None:
    outcome = check(build_result())
    assert outcome.exit_code == 0 and outcome.ok
    assert [line.kind for line in outcome.lines] == ["requirement"] * 3 + ["decision"]


def test_a_missed_requirement_fails_with_1() -> None:
    assert check(with_first(build_result(), met=False)).exit_code == 1


def test_a_requirement_that_cannot_be_told_fails_with_3() -> None:
    assert check(with_first(build_result(), met=None)).exit_code == 3


def test_a_requirement_whose_metric_was_not_measured_fails_with_3() -> None:
    reason = Text("accuracy was not measured", "未测得 accuracy")
    outcome = check(with_first(build_result(), met=None, observed=None, reason=reason))
    assert outcome.exit_code == 3
    assert outcome.lines[0].reason == reason


def test_a_claim_to_be_met_without_an_observation_is_not_believed() -> None:
    assert check(with_first(build_result(), met=True, observed=None)).exit_code == 3


def test_a_planned_requirement_that_the_result_leaves_out_fails() -> None:
    result = build_result()
    assert check(replace(result, requirements=result.requirements[1:])).exit_code == 3


@pytest.mark.parametrize(("decision", "code"), [("ship", 0), ("do not ship", 1), ("cannot tell", 3)])
def test_the_decision_is_part_of_every_gate_that_does_not_say_otherwise(decision: str, code: int) -> None:
    result = replace(build_result(), decision=decision)  # type: ignore[arg-type]
    assert check(result).exit_code == code
    assert check(result, Gate(decision="any")).exit_code == 0


def test_a_failure_outweighs_what_could_not_be_measured() -> None:
    result = with_first(build_result(), met=None)
    assert check(replace(result, decision="do not ship")).exit_code == 1


# accuracy of the chosen on test: 0.846, interval 0.829 to 0.863
@pytest.mark.parametrize(
    ("text", "code"),
    [("accuracy >= 0.82", 0), ("accuracy >= 0.9", 1), ("accuracy >= 0.85", 3), ("time_per_token <= 1 ms", 3)],
)
def test_a_gate_adds_requirements_decided_on_the_confirmed_numbers(
    tmp_path: Path, text: str, code: int
) -> None:
    path = gate_file(tmp_path, f'[gate]\nrequire = ["{text}"]\n')
    assert check(build_result(), path).exit_code == code


def test_a_relative_gate_uses_the_paired_comparison() -> None:
    # paired ratio 0.370 (0.355 – 0.389): the whole interval lies below 0.5 * base
    assert check(build_result(), Gate(("energy_per_1000 <= 0.5 * base",))).exit_code == 0
    assert check(build_result(), Gate(("energy_per_1000 <= 0.2 * base",))).exit_code == 1


def test_without_confirmation_the_gate_judges_the_chosen_trial_on_validation() -> None:
    result = replace(build_result(), confirmation=None)
    gate = Gate(("artefact_size <= 30 MB",), decision="any")
    assert check(result, gate).exit_code == 0
    assert check(replace(result, chosen=None), gate).exit_code == 1  # the base


def test_a_decision_to_ship_that_nothing_confirmed_does_not_open_the_gate() -> None:
    result = build_result()
    assert check(replace(result, confirmation=None)).exit_code == 3
    assert result.confirmation is not None
    damaged = replace(result.confirmation, artefact_check={"hashes_ok": False, "max_abs_diff": None})
    assert check(replace(result, confirmation=damaged)).exit_code == 1


@pytest.mark.parametrize(
    ("question", "code"), [("inference", 0), ("memory", 3), ("energy", 3), ("robustness", 3)]
)
def test_a_question_must_pass_and_nothing_less(question: str, code: int) -> None:
    assert check(build_result(), Gate(questions=(question,))).exit_code == code


BAD = {
    "not toml": ("[gate", BadInput, "TOML"),
    "no table": ("[other]\n", BadInput, r"\[gate\]"),
    "gate is a number": ("gate = 1\n", BadInput, r"\[gate\]"),
    "unknown key": ('[gate]\nrequires = ["accuracy >= 0.9"]\n', BadInput, "require"),
    "a text for a list": ('[gate]\nrequire = "accuracy >= 0.9"\n', BadInput, "list"),
    "a number in the list": ("[gate]\nquestions = [5]\n", BadInput, "list"),
    "unknown decision": ('[gate]\ndecision = "maybe"\n', BadInput, "decision"),
    "nothing to check": ('[gate]\ndecision = "any"\n', BadInput, "checks nothing"),
    "no requirement": ('[gate]\nrequire = ["accuracy"]\n', RequirementError, "requirement"),
    "unknown metric": ('[gate]\nrequire = ["acuracy >= 0.9"]\n', UnknownName, "accuracy"),
    "unknown unit": ('[gate]\nrequire = ["p95_latency <= 20 parsec"]\n', RequirementError, "unit"),
    "unknown question": ('[gate]\nquestions = ["inferense"]\n', UnknownName, "inference"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_gate_is_refused_and_never_opens(name: str, tmp_path: Path) -> None:
    text, error, words = BAD[name]
    result = build_result()
    if name == "nothing to check":
        result = replace(result, plan={**result.plan, "requirements": []})
    with pytest.raises(error, match=words):
        check(result, gate_file(tmp_path, text))


def test_a_gate_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "missing.toml", tmp_path, tmp_path / "binary.toml"):
        with pytest.raises(BadInput):
            check(build_result(), path)


def test_json_and_lines_tell_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = check(with_first(build_result(), met=False), Gate(questions=("memory",)))
    value = outcome.to_json()
    assert value["ok"] is False and value["exit_code"] == 1
    assert [line["met"] for line in value["lines"]] == [False, True, True, None, True]
    print_outcome(outcome, language="zh")
    printed = capsys.readouterr().out
    assert "未达到" in printed and "无法判断" in printed and "\x1b" not in printed


def test_an_outcome_is_found_by_its_expression_not_its_place() -> None:
    result = build_result()
    turned = replace(result, requirements=tuple(reversed(result.requirements)))
    assert check(turned).exit_code == 0
    stray = RequirementOutcome("accuracy >= 0.1", True, result.requirements[0].observed, "test")
    assert check(replace(result, requirements=(stray,))).exit_code == 3
