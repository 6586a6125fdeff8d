"""Whole texts: plain, with look-ups and with draft models, against each other and by enumeration."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import pytest
from scipy import stats

from tests.decoding.sessions import CachelessSession, TableSession
from tests.measure.language.models import MAKERS, mistral, session
from tiku.core.errors import CannotMeasure, DataError
from tiku.decoding import Draft, Request, Sampling, distribution, greedy, sample
from tiku.decoding.drafting import DraftModel, PromptLookup

TIMES = 3000  # texts sampled, seeds 0 to 2999


def _step_by_step(model: TableSession, request: Request) -> list[int]:
    """Greedy without any cache."""
    tokens = list(request.tokens)
    for _ in range(request.limit):
        best = int(model.logits_after(tokens).argmax())
        if best in request.stop:
            break
        tokens.append(best)
    return tokens[len(request.tokens) :]


def _drafters(model: TableSession) -> list[object]:
    other = TableSession(model.vocabulary, model.order, seed=99)
    return [None, PromptLookup(), PromptLookup(3, 1, 1), DraftModel(other), DraftModel(model, 3)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("which", range(5))
def test_greedy_text_is_the_same_whatever_drafts(seed: int, which: int) -> None:
    model = TableSession(5, 2, seed)
    for limit, stop in itertools.product((0, 1, 2, 7, 40), (frozenset(), frozenset({seed % 5}))):
        request = Request((1, 2, 3, 1, 2), limit, stop)
        found = greedy(model, request, _drafters(model)[which])  # type: ignore[arg-type]
        expected = _step_by_step(model, request)
        assert list(found.tokens) == expected
        assert found.ended == (len(expected) < limit)


@pytest.mark.parametrize("order", [1, 2])
def test_right_drafts_save_forward_passes_and_are_counted(order: int) -> None:
    model = TableSession(6, order, 1)
    plain = greedy(model, Request((0, 1, 2), 41))
    assert (plain.forwards, plain.proposed, plain.accepted) == (41, 0, 0)
    found = greedy(model, Request((0, 1, 2), 41), DraftModel(TableSession(6, order, 1), 4))
    assert (found.tokens, found.proposed, found.accepted) == (plain.tokens, 32, 32)
    assert found.forwards == 1 + 40 / 5  # the prompt, then five tokens at a time


def test_text_that_repeats_itself_is_looked_up() -> None:
    lookup = PromptLookup(draft_tokens=4, longest=3, shortest=2)
    assert lookup.propose([7, 8, 9, 1, 2, 7, 8], 9) == Draft((9, 1, 2, 7))
    assert lookup.propose([7, 8, 9, 1, 2, 7, 8], 2) == Draft((9, 1))
    assert lookup.propose([5, 8, 1, 7, 8, 2, 7, 8], 9) == Draft((2, 7, 8))  # the latest of two
    assert lookup.propose([6, 7, 8, 1, 7, 8, 2, 6, 7, 8], 1) == Draft((1,))  # longer beats later
    assert lookup.propose([4, 4, 4], 9) == Draft((4,))  # overlaps with itself
    assert lookup.propose([1, 2, 3, 4], 9) == Draft()
    assert lookup.propose([1], 9) == Draft()


def _texts_by_enumeration(model: TableSession, request: Request, sampling: Sampling) -> dict[tuple, float]:
    found: dict[tuple, float] = {}
    for text in itertools.product(range(model.vocabulary), repeat=request.limit):
        chance = 1.0
        for i, token in enumerate(text):
            chance *= distribution(model.logits_after([*request.tokens, *text[:i]]), sampling)[token]
        found[text] = chance
    return found


@pytest.mark.parametrize("drafting", ["nothing", "look-up", "another model", "itself"])
@pytest.mark.parametrize("shape", [Sampling(), Sampling(temperature=0.7, top_k=2)], ids=["all", "top-k"])
def test_sampled_texts_are_distributed_as_the_model_says_whatever_drafts(
    drafting: str, shape: Sampling
) -> None:
    model, other = TableSession(3, 1, seed=5, scale=1.0), TableSession(3, 1, seed=6, scale=1.0)
    request = Request((0, 1, 0), 4)
    counts: Counter[tuple[int, ...]] = Counter()
    for seed in range(TIMES):
        own = Sampling(shape.temperature, shape.top_k, shape.top_p, seed)
        drafter = {
            "nothing": None,
            "look-up": PromptLookup(3, 2, 1),
            "another model": DraftModel(other, 2, own),
            "itself": DraftModel(model, 3, own),
        }[drafting]
        counts[sample(model, request, own, drafter).tokens] += 1
    chances = _texts_by_enumeration(model, request, shape)
    assert all(chances[text] > 0 for text in counts)
    assert _misfit(counts, {t: TIMES * p for t, p in chances.items() if p > 0}) > 0.001


def _misfit(observed: Counter[tuple[int, ...]], expected: dict[tuple[int, ...], float]) -> float:
    """P-value of chi-square; texts expected less than five times are counted together."""
    rare = [t for t in expected if expected[t] < 5]
    common = [t for t in expected if expected[t] >= 5]
    seen = [*(observed[t] for t in common), sum(observed[t] for t in rare)]
    wanted = [*(expected[t] for t in common), sum(expected[t] for t in rare)]
    if not rare:
        seen, wanted = seen[:-1], wanted[:-1]
    return float(stats.chisquare(seen, wanted).pvalue)


class Liar:
    """Proposes the likeliest tokens and claims to have drawn them."""

    def __init__(self, model: TableSession) -> None:
        self._model = model

    def propose(self, tokens: Sequence[int], room: int) -> Draft:
        chances = distribution(self._model.logits_after(list(tokens)), Sampling())
        return Draft((int(chances.argmax()),), [chances])


def test_drafter_that_lies_about_its_distribution_would_be_caught_by_the_test_above() -> None:
    model, other = TableSession(3, 1, seed=5, scale=1.0), TableSession(3, 1, seed=6, scale=1.0)
    request = Request((0, 1, 0), 4)
    counts: Counter[tuple[int, ...]] = Counter()
    for seed in range(TIMES):
        counts[sample(model, request, Sampling(seed=seed), Liar(other)).tokens] += 1
    expected = {t: TIMES * p for t, p in _texts_by_enumeration(model, request, Sampling()).items()}
    assert _misfit(counts, expected) < 1e-6


def test_model_whose_cache_cannot_be_cut_is_refused_before_it_generates() -> None:
    model = CachelessSession(5, 1, 0)
    with pytest.raises(CannotMeasure, match="cannot cut"):
        greedy(model, Request((1, 2), 30), PromptLookup())
    assert model.forwards == 1
    assert len(greedy(model, Request((1, 2), 30)).tokens) == 30


def test_empty_prompt_is_refused() -> None:
    with pytest.raises(DataError, match="empty prompt"):
        greedy(TableSession(5, 1, 0), Request((), 4))


@pytest.mark.parametrize("name", MAKERS)
def test_real_models_draft_for_themselves_and_for_others(name: str) -> None:
    model, other = session(MAKERS[name]()), session(MAKERS[name](seed=3))
    request = Request((5, 9, 2, 5, 9), 40)
    plain = greedy(model, request)
    alike = greedy(model, request, DraftModel(session(MAKERS[name]()), 4))
    assert alike.tokens == plain.tokens and alike.accepted == alike.proposed > 0
    unlike = greedy(model, request, DraftModel(other, 4))
    assert unlike.tokens == plain.tokens and unlike.accepted < unlike.proposed
    assert greedy(model, request, PromptLookup(6, 2, 1)).tokens == plain.tokens


def test_sliding_window_gives_back_what_a_rejected_draft_pushed_out() -> None:
    model, other = session(mistral(window=8)), session(mistral(window=8, seed=3))
    request = Request(tuple(range(1, 13)), 30)
    plain = greedy(model, request)
    found = greedy(model, request, DraftModel(other, 4))
    assert found.tokens == plain.tokens and 0 <= found.accepted < found.proposed
