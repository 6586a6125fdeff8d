"""Several requests at once against one at a time."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import transformers

from tests.decoding.sessions import TableSession
from tests.measure.language.models import MAKERS, VOCABULARY, llama, mistral, session, sharpened
from tiku.core.errors import CannotMeasure, DataError
from tiku.core.subject import Rows
from tiku.decoding import Request, Sampler, Sampling, decode_together, greedy, sample


class TableRows(Rows):
    """Rows of a table session; notes who was in the batch at each step."""

    def __init__(self, model: TableSession) -> None:
        self.model, self.held, self.steps, self.entered = model, {}, [], 0

    def enter(self, tokens: Sequence[int]) -> tuple[int, Any]:
        self.entered += 1
        self.held[self.entered] = list(tokens)
        return self.entered, self.model.logits_after(list(tokens))

    def step(self, tokens: Mapping[int, int]) -> Any:
        self.steps.append(set(self.held))
        assert set(tokens) == set(self.held)
        for row, token in tokens.items():
            self.held[row].append(token)
        return np.stack([self.model.logits_after(self.held[row]) for row in tokens])

    def leave(self, row: int) -> None:
        del self.held[row]

    def report(self) -> dict[str, Any]:
        return {"left": len(self.held)}


class Batching(TableSession):
    def rows(self, longest: Sequence[int]) -> Rows:
        self.longest = list(longest)
        self.made = TableRows(self)
        return self.made


def _requests(count: int, vocabulary: int, seed: int, longest: int = 30) -> list[Request]:
    draw = random.Random(seed)

    def one() -> Request:
        tokens = tuple(draw.randrange(vocabulary) for _ in range(draw.randint(1, 20)))
        return Request(tokens, draw.choice((0, 1, 5, longest)), frozenset({draw.randrange(vocabulary)}))

    return [one() for _ in range(count)]


@pytest.mark.parametrize("slots", [1, 2, 5, 50])
@pytest.mark.parametrize("seed", range(4))
def test_texts_are_those_of_one_request_at_a_time_in_its_order(slots: int, seed: int) -> None:
    model = Batching(7, 2, seed)
    requests = _requests(17, 7, seed)
    found, report = decode_together(model, requests, slots)
    assert found == [greedy(model, request) for request in requests]
    assert report == {"left": 0}
    assert max(map(len, model.made.steps)) <= slots


def test_slots_are_never_empty_while_requests_wait() -> None:
    model = Batching(7, 2, 0)
    requests = [Request((1, 2), limit) for limit in (9, 3, 3, 3, 6)]
    decode_together(model, requests, 2)
    # 24 tokens, of which 5 come from the prompts: 19 row steps in two rows that end together or nearly
    assert sum(map(len, model.made.steps)) == 19
    assert len(model.made.steps) == 10
    assert model.longest == [11, 8]


def test_each_request_is_sampled_with_its_own_seed() -> None:
    model = Batching(7, 2, 0)
    requests = [Request((1, 2), 12), Request((3,), 12), Request((1, 2), 12)]
    seeds = [Sampling(seed=seed) for seed in (5, 6, 5)]
    found, _ = decode_together(model, requests, 2, chooser=lambda i: Sampler(seeds[i]))
    alone = [sample(model, request, own) for request, own in zip(requests, seeds, strict=True)]
    assert [one.tokens for one in found] == [one.tokens for one in alone]
    assert found[0].tokens == found[2].tokens


def test_nothing_to_do_opens_no_rows() -> None:
    assert decode_together(TableSession(3, 1, 0), [Request((1,), 0)], 4)[0][0].tokens == ()
    assert decode_together(TableSession(3, 1, 0), [], 4) == ([], {})


def test_empty_prompt_and_runtime_without_rows_are_refused() -> None:
    with pytest.raises(DataError, match="empty prompt"):
        decode_together(TableSession(3, 1, 0), [Request((), 3)], 4)
    with pytest.raises(CannotMeasure, match="different lengths at once"):
        decode_together(TableSession(3, 1, 0), [Request((1,), 3)], 4)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("slots", [1, 3, 8])
def test_real_models_say_in_a_batch_what_they_say_alone(name: str, slots: int) -> None:
    model = session(MAKERS[name]())
    requests = _requests(11, VOCABULARY, seed=slots, longest=25)
    found, report = decode_together(model, requests, slots)
    assert found == [greedy(model, request) for request in requests]
    assert 0 < report["most_used"] <= report["blocks"]


def test_logits_of_a_row_do_not_depend_on_its_neighbours() -> None:
    model = session(llama())
    draw = np.random.default_rng(3)
    texts = [draw.integers(0, VOCABULARY, size=size).tolist() for size in (3, 40, 17, 1)]
    rows = model.rows([64] * 4)
    numbers = [rows.enter(text)[0] for text in texts]
    for step in range(6):
        fed = {row: int(draw.integers(VOCABULARY)) for row in numbers}
        found = rows.step(fed)
        for logits_V, row, text in zip(found, fed, texts, strict=True):
            text.append(fed[row])
            alone = model.run({"input_ids": np.asarray([text])})[0, -1]
            np.testing.assert_allclose(logits_V, alone, atol=2e-3 * np.abs(alone).max())
        if step == 2:
            rows.leave(numbers.pop(1))
            del texts[1]


@pytest.mark.parametrize("common", [16, 20, 37])
def test_prompt_that_begins_like_a_living_one_is_shared_and_not_fed_again(common: int) -> None:
    model = session(llama())
    draw = np.random.default_rng(0)
    prefix = draw.integers(0, VOCABULARY, size=common).tolist()
    texts = [[*prefix, 1, 2, 3], [*prefix, 4], prefix]
    rows = model.rows([60] * 3)
    for text in texts:
        _, logits_V = rows.enter(text)
        alone = model.run({"input_ids": np.asarray([text])})[0, -1]
        np.testing.assert_allclose(logits_V, alone, atol=2e-3 * np.abs(alone).max())
    last = rows.step({0: 7, 1: 8, 2: 9})
    for logits_V, text, token in zip(last, texts, (7, 8, 9), strict=True):
        alone = model.run({"input_ids": np.asarray([[*text, token]])})[0, -1]
        np.testing.assert_allclose(logits_V, alone, atol=2e-3 * np.abs(alone).max())
    # the third is the prefix itself: its last token is fed for its logits
    assert rows.report()["shared_prompt_tokens"] == common + (common - 1 if common > 16 else 0)


def test_the_pool_reports_what_padding_would_have_wasted() -> None:
    model = session(llama())
    rows = model.rows([32, 32])
    one, two = rows.enter([1] * 30)[0], rows.enter([2] * 5)[0]
    rows.step({one: 3, two: 3})
    report = rows.report()
    # columns: 30 and 5 for the prompts, then two rows of 31; tokens: 30, 5, 31 and 6
    assert report["padded_share"] == pytest.approx(1 - 72 / 97)
    assert report["most_used"] == 3  # 31 tokens in two blocks of 16, 6 in one
    assert report["internal_fragmentation"] == pytest.approx(1 - 37 / 48)
    layers, heads, width = 2, 2, 8
    assert report["cache_bytes"] == layers * 2 * heads * width * 4 * 64


@pytest.mark.parametrize(
    "make, why",
    [
        (lambda: mistral(window=8), "sliding_attention"),
        (
            lambda: sharpened(
                transformers.MambaForCausalLM,
                transformers.MambaConfig(
                    vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=2, state_size=4
                ),
                0,
            ),
            "forward pass takes no",
        ),
    ],
    ids=["mistral", "mamba"],
)
def test_models_that_cannot_share_a_batch_are_refused_with_the_reason(make: Any, why: str) -> None:
    with pytest.raises(CannotMeasure, match=why):
        session(make()).rows([8])
