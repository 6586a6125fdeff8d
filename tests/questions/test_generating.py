"""Drafts and batches gain only in text that the model writes itself: the answer says so."""

from __future__ import annotations

from tests.questions.evidence import evidence, trial
from tiku.questions._generating import own_text
from tiku.questions.q05_inference import QUESTION

KEPT = {"perplexity": (1.0, 0.001), "time_per_token": (1.0, 0.01)}
BASE = ("perplexity", "time_per_token", "generated_tokens_per_second")


def _of(*trials, objective="time_per_token"):
    return evidence(*trials, task="causal-lm", objective=objective, base_has=BASE)


def test_gain_that_equal_steps_do_not_show_is_told_with_its_interval() -> None:
    drafted = trial(
        "prompt-lookup",
        generated_tokens_per_second=(1.4, 0.05),
        details={"generate": {"same_output": True}},
        **KEPT,
    )
    (told,) = own_text(_of(drafted))
    assert "prompt-lookup" in told.en and "×1.40 [1.33, 1.47]" in told.en and "same output" in told.en
    assert told in QUESTION.decide(_of(drafted)).caveats


def test_recipe_that_both_measures_agree_on_is_not_told() -> None:
    faster = trial(
        "thread-tuning",
        generated_tokens_per_second=(1.4, 0.05),
        perplexity=(1.0, 0.001),
        time_per_token=(0.7, 0.05),
    )
    unsure = trial("prompt-lookup", generated_tokens_per_second=(1.2, 0.4), **KEPT)
    assert own_text(_of(faster, unsure, trial("token-budget", throughput=(1.5, 0.1)))) == ()


def test_question_decides_on_generated_text_where_the_exam_asks_for_it() -> None:
    drafted = trial("prompt-lookup", generated_tokens_per_second=(1.4, 0.05), **KEPT)
    answer = QUESTION.decide(_of(drafted, objective="generated_tokens_per_second"))
    assert (answer.recommended, answer.key_metric) == ("prompt-lookup", "generated_tokens_per_second")
