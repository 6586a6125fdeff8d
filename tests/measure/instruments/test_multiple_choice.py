import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.measure.instruments.bench import PROTOCOL, bench_of, opened, questions
from tests.measure.language.models import llama
from tests.measure.language.words import byte_level
from tiku.core.errors import CannotMeasure
from tiku.core.hashing import canonical
from tiku.data.choices import Choices
from tiku.measure.instruments.multiple_choice import INSTRUMENT

SIZE = len(byte_level())
NAMES = ("choice_accuracy", "choice_accuracy_norm", "choice_accuracy_bytes", "choice_accuracy_tokens")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return opened(tmp_path_factory.mktemp("model") / "base")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return opened(tmp_path_factory.mktemp("model") / "other", llama(vocab=SIZE, seed=5))


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """Every token is equally likely: the log-likelihood of an option is its number of tokens."""
    module = llama(vocab=SIZE)
    module.lm_head.weight.data.zero_()
    return opened(tmp_path_factory.mktemp("model") / "flat", module)


def _log_likelihood(module, tokenizer, context, option):
    """By a plain loop over the tokens of the option, which begins after the tokens of the context."""
    whole, before = tokenizer(context + option)["input_ids"], len(tokenizer(context)["input_ids"])
    with torch.inference_mode():
        logits = module(input_ids=torch.tensor([whole]), use_cache=False).logits[0].double()
    table = torch.log_softmax(logits, dim=-1)
    return sum(float(table[i - 1, whole[i]]) for i in range(before, len(whole)))


def _choices_by_plain_loop(data, shots=()):
    module, tokenizer = llama(vocab=SIZE), byte_level()
    for context, options in zip(data.contexts, data.options, strict=True):
        prompt = "".join(f"{shot}\n\n" for shot in shots) + context
        yield [_log_likelihood(module, tokenizer, prompt, " " + option) for option in options]


def test_accuracy_is_how_often_the_likeliest_option_is_the_right_one(model):
    data = questions(30)
    found = INSTRUMENT.measure(bench_of(model, data))
    raw, norm, size = [], [], []
    for values, options, answer in zip(_choices_by_plain_loop(data), data.options, data.answers, strict=True):
        raw.append(max(range(len(values)), key=lambda i: values[i]) == answer)
        norm.append(max(range(len(values)), key=lambda i: values[i] / len(options[i])) == answer)
        size += values
    assert found.metrics["choice_accuracy"].value == pytest.approx(np.mean(raw))
    assert found.metrics["choice_accuracy_norm"].value == pytest.approx(np.mean(norm))
    assert found.arrays["nats"] == pytest.approx(size, abs=1e-4)


def test_normalisations_of_a_uniform_model_follow_from_the_lengths_alone(flat):
    """The right option has the fewest tokens, but not the fewest per letter, nor per byte."""
    options = ("a", "bcdefg", "水水水")
    data = Choices("made", tuple(f"case {i * 977}" for i in range(20)), (options,) * 20, (0,) * 20)
    found = INSTRUMENT.measure(bench_of(flat, data))
    tokenizer = byte_level()
    counts = np.array([len(tokenizer(" " + option)["input_ids"]) for option in options], dtype=float)
    sizes = {
        "choice_accuracy": [1, 1, 1],
        "choice_accuracy_norm": [1, 6, 3],
        "choice_accuracy_bytes": [1, 6, 9],
        "choice_accuracy_tokens": counts,
    }
    expected = {name: float((counts / sizes[name]).argmin() == 0) for name in NAMES}
    assert {name: found.metrics[name].value for name in NAMES} == expected
    assert expected["choice_accuracy"] == 1.0 and expected["choice_accuracy_bytes"] == 0.0


def test_worked_examples_come_from_the_train_part_and_stand_before_every_question(model):
    data, train = questions(20), questions(12, offset=50)
    plan = replace(PROTOCOL, shots=2)
    found = INSTRUMENT.measure(bench_of(model, data, train=(train,), protocol=plan))
    shown = found.details["protocol"]["prompt"]
    shots = shown.split("\n\n")[:-1]
    assert found.details["protocol"]["shots"] == 2 and set(shots) <= set(train.worked())
    assert "2-shot" in found.metrics["choice_accuracy"].estimator
    expected = [value for values in _choices_by_plain_loop(data, shots) for value in values]
    assert found.arrays["nats"] == pytest.approx(expected, abs=1e-4)


def test_examples_that_do_not_fit_are_left_out_for_all_questions_alike_and_it_says_so(model):
    data, train = questions(20), questions(12, offset=50)
    plan = replace(PROTOCOL, shots=8)
    found = INSTRUMENT.measure(bench_of(model, data, train=(train,), protocol=plan))
    kept = found.details["protocol"]["shots"]
    assert 0 < kept < 8 and f"{kept} worked examples instead of 8" in found.warnings[0].en
    assert found.details["protocol"]["contexts_cut"] == 0


def test_without_a_train_part_no_examples_are_shown_and_it_says_so(model):
    found = INSTRUMENT.measure(bench_of(model, questions(20), protocol=replace(PROTOCOL, shots=5)))
    assert found.details["protocol"]["shots"] == 0
    assert "0 worked examples instead of 5" in found.warnings[0].en


def test_a_question_longer_than_the_context_loses_its_beginning(model):
    data = questions(20)
    long = Choices("made", (data.contexts[0] * 9, *data.contexts[1:]), data.options, data.answers)
    found = INSTRUMENT.measure(bench_of(model, long))
    assert found.details["protocol"]["contexts_cut"] == len(long.options[0])
    assert any("lost their beginning" in warning.en for warning in found.warnings)


def test_a_model_that_guesses_is_said_to_guess(model, flat):
    found = INSTRUMENT.measure(bench_of(model, questions(30)))
    value, chance = found.metrics["choice_accuracy"], found.details["protocol"]["chance"]
    assert chance == pytest.approx(np.mean([1 / 2, 1 / 3, 1 / 4]))
    assert value.low < chance < value.high and "cannot be told from guessing" in found.warnings[-1].en
    data = questions(40)
    always_first = Choices("made", data.contexts, data.options, (0,) * 40)
    sure = INSTRUMENT.measure(bench_of(flat, always_first))
    assert sure.metrics["choice_accuracy_tokens"].value == 1.0
    assert sure.metrics["choice_accuracy"].low > chance and not sure.warnings


def test_the_same_model_again_flips_nothing(model):
    data = questions(30)
    base = INSTRUMENT.measure(bench_of(model, data))
    found = INSTRUMENT.measure(bench_of(model, data, base=model, base_arrays=base.arrays))
    assert found.metrics["choice_flip_rate"].value == 0
    assert all(found.against_base[name].effect == 0 for name in NAMES)
    assert found.details["flips"]["count"] == 0


def test_another_model_is_compared_question_by_question(model, other):
    data = questions(45)
    base = INSTRUMENT.measure(bench_of(model, data))
    kept = INSTRUMENT.measure(bench_of(other, data, base=model, base_arrays=base.arrays))
    fresh = INSTRUMENT.measure(bench_of(other, data, base=model))
    assert kept.against_base == fresh.against_base and kept.details == fresh.details
    flips = kept.details["flips"]
    assert flips["count"] == round(kept.metrics["choice_flip_rate"].value * 45) > 0
    effect = kept.against_base["choice_accuracy"].effect
    assert effect == pytest.approx((flips["won"] - flips["lost"]) / 45)


def test_questions_of_one_passage_make_wider_intervals_than_independent_ones(model):
    data = questions(48)
    passages = tuple(f"passage {right} {i % 3}" for i, right in enumerate(_right(model, data)))
    grouped = Choices("made", data.contexts, data.options, data.answers, passages)
    both = (INSTRUMENT.measure(bench_of(model, d)).metrics for d in (data, grouped))
    alone, together = (metrics["choice_accuracy"] for metrics in both)
    assert together.value == alone.value and "cluster" in together.estimator
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def _right(model, data):
    nats = INSTRUMENT.measure(bench_of(model, data)).arrays["nats"]
    found, at = [], 0
    for options, answer in zip(data.options, data.answers, strict=True):
        found.append(int(nats[at : at + len(options)].argmax()) == answer)
        at += len(options)
    return found


def test_twins_that_differ_in_a_word_count_as_one_group(model):
    data = questions(24)
    twins = tuple(context.replace("every", "each") for context in data.contexts[:12])
    doubled = Choices(
        "made", data.contexts + twins, data.options + data.options[:12], data.answers + data.answers[:12]
    )
    found = INSTRUMENT.measure(bench_of(model, doubled, protocol=replace(PROTOCOL, choice_items=100)))
    assert "cluster" in found.metrics["choice_accuracy"].estimator
    assert "cluster" not in INSTRUMENT.measure(bench_of(model, data)).metrics["choice_accuracy"].estimator


def test_only_as_many_questions_as_the_protocol_says_are_drawn_the_same_each_time(model):
    data, plan = questions(50), replace(PROTOCOL, choice_items=15)
    first, second = (INSTRUMENT.measure(bench_of(model, data, protocol=plan)) for _ in range(2))
    assert first.metrics["choice_accuracy"].n == 15
    assert first.metrics == second.metrics and (first.arrays["nats"] == second.arrays["nats"]).all()


def test_details_are_json_and_name_the_worst_mistakes_and_the_noise_floor(model):
    found = INSTRUMENT.measure(bench_of(model, questions(60))).details
    json.dumps(canonical(found), allow_nan=False)
    worst = found["worst_examples"]
    assert worst and all(one["true"] != one["predicted"] for one in worst)
    assert [one["confidence"] for one in worst] == sorted((one["confidence"] for one in worst), reverse=True)
    assert sum(one["n"] for one in found["reliability"]) == 60
    assert 0 <= found["protocol"]["noise_floor_nats"] < 1e-4 and found["protocol"]["probes"] == 4
    assert found["decided_within_noise"] == 0


def test_it_refuses_other_data(model):
    assert not INSTRUMENT.supports(bench_of(model))
    assert INSTRUMENT.supports(bench_of(model, questions(20)))


def test_an_option_longer_than_the_model_is_a_reason_not_a_crash(model):
    data = questions(20)
    endless = (("water " * 400, "ice"), *data.options[1:])
    with pytest.raises(CannotMeasure, match="longer than the model's context"):
        INSTRUMENT.measure(bench_of(model, Choices("made", data.contexts, endless, data.answers)))
