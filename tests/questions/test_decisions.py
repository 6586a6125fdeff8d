"""`decide` is pure: from made-up measurements to verdict, recommendation, words and caveats."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.questions.evidence import evidence, outcome, trial
from tiku.core import registry
from tiku.core.measured import Measured
from tiku.core.question import Question
from tiku.core.recipe import Recipe, Step
from tiku.core.result import Answer
from tiku.core.text import Text
from tiku.questions._by_methods import MethodQuestion

INFERENCE: Question = registry.get("questions", "inference")
KEPT = (0.0, 0.004)  # accuracy: equivalent
LOST = (-0.05, 0.01)  # accuracy: worse
FAST, FASTER, SLOW = (1.3, 0.02), (1.9, 0.05), (0.8, 0.02)
OPEN = (1.04, 0.08)  # throughput: cannot tell
SAME = (1.005, 0.01)  # throughput: equivalent

fast = trial("fast", "onnxruntime", accuracy=KEPT, throughput=FAST)
faster = trial("faster", "int8-dynamic", "onnxruntime", accuracy=KEPT, throughput=FASTER)
slow = trial("slow", "length-bucketing", accuracy=KEPT, throughput=SLOW)
same = trial("same", "thread-tuning", accuracy=KEPT, throughput=SAME)
undecided = trial("undecided", "token-budget", accuracy=KEPT, throughput=OPEN)
careless = trial("careless", "int8-dynamic", accuracy=LOST, throughput=(2.5, 0.05))
refused = trial("refused", "torch-compile", status="refused", reason=Text("no compiler", "没有编译器"))


def said(answer: Answer) -> tuple[str, str]:
    """Everything an answer says, in both languages."""
    texts = (answer.answer, *answer.caveats)
    return " | ".join(t.en for t in texts), " | ".join(t.zh for t in texts)


def numbers(text: str) -> list[str]:
    return sorted(re.findall(r"\d+(?:[.,]\d+)*", text))


def assert_bilingual(answer: Answer) -> None:
    en, zh = said(answer)
    assert all(t.en.strip() and t.zh.strip() for t in (answer.answer, *answer.caveats))
    assert re.search("[\u4e00-\u9fff]", zh) and not re.search("[\u4e00-\u9fff]", en)
    assert numbers(en) == numbers(zh)


@pytest.mark.parametrize("name", registry.names("questions"))
def test_a_question_without_methods_and_numbers_reads_not_measured(name, monkeypatch) -> None:
    monkeypatch.setattr(MethodQuestion, "methods", lambda self: ())
    answer = registry.get("questions", name).decide(evidence(base_has=()))
    assert answer.verdict == "not measured" and answer.recommended is None
    assert_bilingual(answer)


@pytest.mark.parametrize("name", registry.names("questions"))
@pytest.mark.parametrize(
    "trials",
    [(), (fast, faster, slow), (undecided, same), (careless,), (refused,), (refused, faster, careless)],
)
def test_every_answer_is_pure_and_has_the_same_numbers_in_both_languages(name, trials) -> None:
    question = registry.get("questions", name)
    for made in (
        evidence(*trials),
        evidence(
            *trials, requirements=(outcome("throughput >= 50 /s", True), outcome("accuracy >= base", None))
        ),
        evidence(*trials, not_run=(Recipe((Step("openvino", {}),)),)),
        evidence(
            *trials, task="causal-lm", base_has=("perplexity", "choice_accuracy"), objective="time_per_token"
        ),
    ):
        answer = question.decide(made)
        assert answer == question.decide(made)
        assert answer.verdict in ("pass", "fail", "inconclusive", "informative", "not measured")
        assert answer.recommended in {None, *(t.id for t in trials)}
        assert set(answer.evidence) <= {"base", *(t.id for t in trials)}
        assert_bilingual(answer)


def test_no_room_in_the_budget_says_so_and_names_what_was_left_out() -> None:
    answer = INFERENCE.decide(evidence(base_has=(), not_run=(Recipe((Step("openvino", {}),)),)))
    assert answer.verdict == "not measured" and answer.recommended is None
    en, zh = said(answer)
    assert "--minutes" in en and "openvino" in en and "--minutes" in zh and "openvino" in zh


def test_methods_that_do_not_apply_are_no_failure() -> None:
    answer = INFERENCE.decide(evidence(base_has=()))
    assert (
        answer.verdict == "not measured"
        and "none of this question's methods has a recipe" in answer.answer.en
    )


def test_only_refusals_give_their_reasons_and_no_verdict() -> None:
    broken = trial("broken", "openvino", status="failed", reason=Text("out of disk", "磁盘已满"))
    answer = INFERENCE.decide(evidence(refused, broken, base_has=()))
    assert answer.verdict == "inconclusive" and answer.recommended is None
    assert "no compiler" in answer.answer.en and "out of disk" in answer.answer.en
    assert "没有编译器" in answer.answer.zh and "磁盘已满" in answer.answer.zh
    assert set(answer.evidence) == {"refused", "broken"}


def test_recipes_that_ran_but_could_not_be_timed_give_the_instruments_reason() -> None:
    noisy = replace(trial("noisy", "onnxruntime", accuracy=KEPT), warnings=(Text("too noisy", "噪声过大"),))
    answer = INFERENCE.decide(evidence(noisy))
    assert answer.recommended is None
    assert "too noisy" in answer.answer.en and "噪声过大" in answer.answer.zh
    assert "could be compared" in answer.answer.en


def test_the_fastest_recipe_that_kept_the_quality_is_recommended_with_its_numbers() -> None:
    answer = INFERENCE.decide(evidence(fast, faster, slow, careless, refused))
    assert answer.recommended == "faster" and answer.verdict == "informative"
    assert answer.key_metric == "throughput"
    assert set(answer.evidence) == {"fast", "faster", "slow", "careless", "refused"}
    en, zh = answer.answer.en, answer.answer.zh
    for told in (en, zh):
        assert "int8-dynamic + onnxruntime" in told and "×1.90 [1.81, 2.00]" in told
        assert "+0.00 pt [-0.40, +0.40]" in told and "Holm" in told and "4" in told and "< 0.001" in told
    assert "no compiler" in said(answer)[0] and "没有编译器" in said(answer)[1]


def test_a_metric_of_which_less_is_better_is_read_the_right_way_round() -> None:
    memory: Question = registry.get("questions", "memory")
    small = trial("small", "int8-dynamic", accuracy=KEPT, peak_memory=(0.6, 0.05))
    smaller = trial("smaller", "token-budget", accuracy=KEPT, peak_memory=(0.4, 0.05))
    large = trial("large", "onnxruntime", accuracy=KEPT, peak_memory=(1.5, 0.05))
    assert memory.decide(evidence(small, large, smaller)).recommended == "smaller"
    assert memory.decide(evidence(large)).recommended is None


def test_the_exams_objective_decides_where_the_question_wants_it_and_else_its_own_first_metric() -> None:
    quick = trial("quick", "onnxruntime", accuracy=KEPT, throughput=SAME, p50_latency=(0.5, 0.05))
    wide = trial("wide", "length-bucketing", accuracy=KEPT, throughput=FASTER, p50_latency=(1.0, 0.01))
    by_throughput = INFERENCE.decide(evidence(quick, wide))
    assert (by_throughput.key_metric, by_throughput.recommended) == ("throughput", "wide")
    by_latency = INFERENCE.decide(evidence(quick, wide, objective="p50_latency"))
    assert (by_latency.key_metric, by_latency.recommended) == ("p50_latency", "quick")
    foreign = INFERENCE.decide(evidence(quick, wide, objective="accuracy"))
    assert foreign.key_metric == "throughput"


def test_when_none_is_better_the_base_stays_and_each_reason_is_named() -> None:
    answer = INFERENCE.decide(evidence(slow, same, careless))
    assert answer.recommended is None and answer.verdict == "informative"
    en, zh = answer.answer.en, answer.answer.zh
    assert "worse: length-bucketing" in en and "equivalent: thread-tuning" in en
    assert "the quality fell or was not compared: int8-dynamic" in en
    assert "更差：length-bucketing" in zh and "等效：thread-tuning" in zh and "int8-dynamic" in zh


def test_an_open_comparison_is_inconclusive_and_says_how_many_measurements_would_settle_it() -> None:
    answer = INFERENCE.decide(evidence(undecided, slow))
    assert answer.recommended is None and answer.verdict == "inconclusive"
    # ln 1.04 = 0.0392 against a half-width of 0.08: (0.08 / 0.0392)^2 * 7 = 29.1
    assert "token-budget: about 30 measurements would be needed (7 now)" in said(answer)[0]
    assert "30" in said(answer)[1]


def test_only_recipes_that_lost_quality_leave_the_question_open() -> None:
    answer = INFERENCE.decide(evidence(careless))
    assert answer.recommended is None and answer.verdict == "inconclusive"


def test_quality_that_was_not_compared_does_not_count_as_kept() -> None:
    unjudged = trial("unjudged", "onnxruntime", throughput=FASTER)
    answer = INFERENCE.decide(evidence(unjudged))
    assert answer.recommended is None and "was not compared" in answer.answer.en


def test_requirements_on_its_metrics_give_the_verdict_and_others_do_not() -> None:
    for met, verdict in ((True, "pass"), (False, "fail"), (None, "inconclusive")):
        made = evidence(faster, requirements=(outcome("throughput >= 100 /s", met),))
        answer = INFERENCE.decide(made)
        assert answer.verdict == verdict and answer.recommended == "faster"
    mixed = (outcome("throughput >= 100 /s", True), outcome("p95_latency <= 20 ms", False))
    assert INFERENCE.decide(evidence(faster, requirements=mixed)).verdict == "fail"
    elsewhere = (outcome("artefact_size <= 1 MB", False),)
    assert INFERENCE.decide(evidence(faster, requirements=elsewhere)).verdict == "informative"
    assert INFERENCE.decide(evidence(careless, requirements=mixed)).verdict == "fail"


def test_the_more_recipes_are_tried_the_surer_the_best_must_be() -> None:
    lucky = trial("lucky", "onnxruntime", accuracy=KEPT, throughput=(1.10, 0.08))  # p = 0.02 alone
    assert INFERENCE.decide(evidence(lucky)).recommended == "lucky"
    rest = [replace(same, id=f"same{i}") for i in range(5)]
    answer = INFERENCE.decide(evidence(lucky, *rest))
    assert answer.recommended is None and answer.verdict == "inconclusive"
    assert "better alone, not after Holm's correction: onnxruntime" in answer.answer.en
    assert "Holm 校正后不成立：onnxruntime" in answer.answer.zh
    sure = INFERENCE.decide(evidence(lucky, faster, *rest))
    assert sure.recommended == "faster"
    assert any("over 7 comparisons: onnxruntime" in c.en for c in sure.caveats)
    alone = INFERENCE.decide(evidence(faster)).answer
    assert "Holm" not in alone.en and "Holm" not in alone.zh  # one comparison needs no correction


def test_few_rounds_must_show_more_than_many_under_the_correction() -> None:
    many = trial("many", "onnxruntime", accuracy=KEPT, throughput=(1.3, 0.15))
    rest = [replace(same, id=f"same{i}") for i in range(9)]
    assert INFERENCE.decide(evidence(many, *rest)).recommended == "many"
    # the same interval, but of three rounds: Student's quantile 4.30 in place of 1.96
    sees = 1.3 ** (0.15 / 0.2624 * 2.8016 / 4.3027) - 1
    few = replace(many, id="few")
    few.against_base["throughput"] = replace(few.against_base["throughput"], smallest_detectable=sees)  # type: ignore[index]
    assert INFERENCE.decide(evidence(few, *rest)).recommended is None


def test_what_a_recommended_recipe_makes_worse_is_told() -> None:
    hidden = trial(
        "hidden", "int8-dynamic", accuracy=KEPT, throughput=FASTER, ece=(0.04, 0.01), peak_memory=(1.3, 0.05)
    )
    en, zh = said(INFERENCE.decide(evidence(hidden)))
    assert "makes worse: calibration error, equal mass +4.00 pt [+3.00, +5.00]" in en
    assert "peak memory ×1.30 [1.24, 1.37]" in en
    assert "变差：校准误差" in zh and "内存峰值 ×1.30" in zh
    clean = said(INFERENCE.decide(evidence(faster)))[0]
    assert "makes worse" not in clean


def test_a_recipe_that_is_not_recommended_is_not_held_up_for_its_side_effects() -> None:
    hidden = trial("hidden", "int8-dynamic", accuracy=KEPT, throughput=FAST, ece=(0.04, 0.01))
    assert "makes worse" not in said(INFERENCE.decide(evidence(hidden, faster)))[0]


def _flipping(share: float) -> Measured:
    return Measured(share, share / 2, 2 * share, 1_000, "1", "measured", "Wilson")


def test_many_changed_predictions_are_told_and_few_are_not() -> None:
    details = {"classification_quality": {"flips": {"count": 41, "lost": 21, "won": 20, "examples": []}}}
    many = replace(faster, metrics={**faster.metrics, "flip_rate": _flipping(0.041)}, details=details)
    en, zh = said(INFERENCE.decide(evidence(many)))
    assert "predictions unlike the base's: 0.0410 [0.0205, 0.0820] (21 became wrong, 20 became right)" in en
    assert "21" in zh and "20 个由错变对" in zh
    few = replace(faster, metrics={**faster.metrics, "flip_rate": _flipping(0.004)}, details=details)
    assert "unlike the base's" not in said(INFERENCE.decide(evidence(few)))[0]


def test_the_slice_that_lost_most_is_told_where_the_loss_is_certain() -> None:
    def change(name: str, effect: float, verdict: str) -> dict[str, object]:
        return {
            "name": name, "n": 212, "effect": effect, "low": effect - 0.03, "high": effect + 0.03,
            "verdict": verdict,
        }  # fmt: skip

    changes = [
        change("long", -0.08, "worse"),
        change("short", -0.05, "worse"),
        change("medium", -0.02, "cannot tell"),
    ]
    details = {"classification_quality": {"slices": {"length": {"changes": changes}}}}
    en, zh = said(INFERENCE.decide(evidence(replace(faster, details=details))))
    assert "accuracy fell on the slice length = long (212 items): -8.00 pt [-11.00, -5.00]" in en
    assert "length = long" in zh and "-8.00 pt" in zh and "short" not in en
    calm = {"classification_quality": {"slices": {"length": {"changes": changes[2:]}}}}
    assert "slice" not in said(INFERENCE.decide(evidence(replace(faster, details=calm))))[0]


def test_a_quality_that_cannot_be_told_is_said_with_the_items_it_would_take() -> None:
    vague = trial("vague", "int8-dynamic", accuracy=(-0.005, 0.02), throughput=FASTER)
    answer = INFERENCE.decide(evidence(vague))
    assert answer.recommended == "vague"
    # to lie within one point: 0.02 must become 0.005
    assert (
        "whether accuracy changed cannot be told: about 16,000 items would be needed (1,000 now)"
        in said(answer)[0]
    )
    assert "16,000" in said(answer)[1]


def test_language_models_are_held_to_perplexity_and_without_prose_to_their_choices() -> None:
    quick = trial("quick", "onnxruntime", perplexity=(1.001, 0.002), time_per_token=(0.5, 0.05))
    made = evidence(quick, task="causal-lm", objective="time_per_token", base_has=("perplexity",))
    assert INFERENCE.decide(made).recommended == "quick"
    choices = trial("choices", "onnxruntime", choice_accuracy=(0.0, 0.005), time_per_token=(0.5, 0.05))
    made = evidence(choices, task="causal-lm", objective="time_per_token", base_has=("choice_accuracy",))
    assert INFERENCE.decide(made).recommended == "choices"
    spoilt = trial("spoilt", "onnxruntime", choice_accuracy=(-0.2, 0.05), time_per_token=(0.5, 0.05))
    made = evidence(spoilt, task="causal-lm", objective="time_per_token", base_has=("choice_accuracy",))
    assert INFERENCE.decide(made).recommended is None


EVALUATION: Question = registry.get("questions", "evaluation")


def test_evaluation_tells_every_measured_quality_of_the_base_with_its_interval() -> None:
    answer = EVALUATION.decide(evidence(base_has=("accuracy", "ece", "throughput")))
    assert answer.verdict == "informative" and answer.recommended is None
    assert (answer.evidence, answer.key_metric) == (("base",), "accuracy")
    for told in (answer.answer.en, answer.answer.zh):
        assert "0.850 [0.765, 0.935]" in told and "1,000" in told and "throughput" not in told.lower()


def test_evaluation_says_the_smallest_change_that_this_many_items_show() -> None:
    near, far = trial("a", "openvino", accuracy=(0.0, 0.01)), trial("b", "onnxruntime", accuracy=(0.0, 0.02))
    answer = EVALUATION.decide(evidence(others=(near, far)))
    en, zh = said(answer)
    assert "smaller than 2.9 pt would go unseen" in en and "2.9 pt" in zh  # 0.02 * 2.80 / 1.96


def test_evaluation_is_judged_by_the_requirements_on_quality() -> None:
    for met, verdict in ((True, "pass"), (False, "fail"), (None, "inconclusive")):
        assert EVALUATION.decide(evidence(requirements=(outcome("accuracy >= 0.8", met),))).verdict == verdict
    assert (
        EVALUATION.decide(evidence(requirements=(outcome("throughput >= 1 /s", False),))).verdict
        == "informative"
    )


def test_proposals_are_recipes_that_can_be_built_and_repeat() -> None:
    for name in registry.names("questions"):
        question = registry.get("questions", name)
        for task in ("text-classification", "causal-lm"):
            situation = evidence(task=task).situation
            proposals = question.propose(situation)
            assert proposals == question.propose(situation)
            assert all(p.question == question.id and p.recipe.methods() for p in proposals)
            order = [p.priority for p in proposals]
            assert order == sorted(order, reverse=True)
