"""Distributions against transformers' own, and the acceptance rule by exact enumeration."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from scipy import stats

from tiku.core.errors import BadInput
from tiku.decoding import Draft, Greedy, Sampler, Sampling, distribution
from tiku.decoding.choosing import accept, draw

SHAPES = [
    Sampling(),
    Sampling(temperature=0.3),
    Sampling(temperature=1.7, top_k=5),
    Sampling(top_k=1),
    Sampling(top_p=0.6),
    Sampling(temperature=0.8, top_k=12, top_p=0.9),
    Sampling(top_p=1e-6),
    Sampling(top_k=500, top_p=1.0),
]


def _by_transformers(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    scores = torch.from_numpy(logits.astype(np.float64))[None]
    steps: list[Any] = [transformers.TemperatureLogitsWarper(sampling.temperature)]
    if sampling.top_k is not None:
        steps.append(transformers.TopKLogitsWarper(sampling.top_k))
    if sampling.top_p is not None:
        steps.append(transformers.TopPLogitsWarper(sampling.top_p))
    for step in steps:
        scores = step(torch.zeros((1, 1), dtype=torch.long), scores)
    return torch.softmax(scores[0], dim=-1).numpy()


@pytest.mark.parametrize("sampling", SHAPES, ids=str)
def test_distribution_is_that_of_transformers(sampling: Sampling) -> None:
    for seed in range(5):
        logits = (3 * np.random.default_rng(seed).standard_normal(40)).astype(np.float32)
        found = distribution(logits, sampling)
        assert found.sum() == pytest.approx(1)
        np.testing.assert_allclose(found, _by_transformers(logits, sampling), atol=1e-9)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0.0},
        {"temperature": -1.0},
        {"temperature": float("inf")},
        {"temperature": float("nan")},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.5},
    ],
    ids=str,
)
def test_impossible_sampling_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="out of range"):
        Sampling(**wrong)  # type: ignore[arg-type]


class Script:
    """Stands for a generator: the uniform numbers are given."""

    def __init__(self, *numbers: float) -> None:
        self._numbers = iter(numbers)

    def random(self) -> float:
        return next(self._numbers)


def _exact(p_SV: np.ndarray, q_KV: np.ndarray | None, draft: tuple[int, ...]) -> dict[tuple[int, ...], float]:
    """Probability of each outcome for one draft, integrated over a fine grid of the uniform numbers."""
    found: dict[tuple[int, ...], float] = {}
    grid = (np.arange(200) + 0.5) / 200
    for numbers in itertools.product(grid, repeat=2):
        chances = None if q_KV is None else list(q_KV)
        made = accept(Draft(draft, chances), iter(p_SV), Script(*numbers))  # type: ignore[arg-type]
        found[made] = found.get(made, 0.0) + 1 / len(grid) ** 2
    return found


# all multiples of 1/20, so that the grid of 200 integrates them without error
P = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
Q = np.array([[0.2, 0.3, 0.5]])


def test_first_token_after_a_drawn_draft_is_distributed_as_the_model_says() -> None:
    total = np.zeros(3)
    for token in range(3):
        for made, chance in _exact(P, Q, (token,)).items():
            total[made[0]] += Q[0, token] * chance
    np.testing.assert_allclose(total, P[0], atol=0.01)


def test_first_token_after_a_certain_draft_is_distributed_as_the_model_says() -> None:
    for token in range(3):
        total = np.zeros(3)
        for made, chance in _exact(P, None, (token,)).items():
            total[made[0]] += chance
        np.testing.assert_allclose(total, P[0], atol=0.01)


def test_draft_stands_as_often_as_the_distributions_overlap() -> None:
    stood = sum(
        Q[0, token] * chance
        for token in range(3)
        for made, chance in _exact(P, Q, (token,)).items()
        if len(made) == 2
    )
    assert stood == pytest.approx(0.2 + 0.3 + 0.2, abs=0.01)  # the sum of min(p, q)


def test_token_after_an_accepted_draft_comes_from_its_own_position() -> None:
    follow = np.zeros(3)
    for made, chance in _exact(P, None, (0,)).items():
        if len(made) == 2:
            follow[made[1]] += chance
    np.testing.assert_allclose(follow / follow.sum(), P[1], atol=0.01)


def test_draft_the_model_would_never_say_never_stands() -> None:
    p = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    for seed in range(50):
        assert accept(Draft((0,)), iter(p), np.random.default_rng(seed)) == (1,)
        assert accept(Draft((1,)), iter(p), np.random.default_rng(seed)) == (1, 0)


def test_greedy_keeps_the_draft_up_to_the_first_token_it_would_not_choose() -> None:
    logits = np.eye(5, dtype=np.float32)[[3, 1, 4, 2]]
    choose = Greedy().choose
    assert choose(logits, Draft((3, 1, 4))) == (3, 1, 4, 2)
    assert choose(logits, Draft((3, 0, 4))) == (3, 1)
    assert choose(logits, Draft((0, 1, 4))) == (3,)
    assert choose(logits[:1], Draft()) == (3,)


def test_draw_follows_the_weights_and_never_gives_a_token_of_weight_zero() -> None:
    weights = np.array([0.0, 2.0, 0.0, 1.0, 5.0, 0.0])
    rng = np.random.default_rng(0)
    drawn = np.bincount([draw(weights, rng) for _ in range(8000)], minlength=6)
    assert drawn[[0, 2, 5]].sum() == 0
    assert stats.chisquare(drawn[[1, 3, 4]], 8000 * weights[[1, 3, 4]] / 8).pvalue > 0.001
    assert draw(weights, Script(1.0)) == 4  # type: ignore[arg-type]
    assert draw(weights, Script(0.0)) == 1  # type: ignore[arg-type]


def test_same_seed_gives_the_same_draws_and_another_seed_others() -> None:
    logits = np.zeros((1, 50), dtype=np.float32)

    def ten(seed: int) -> list[tuple[int, ...]]:
        sampler = Sampler(Sampling(seed=seed))
        return [sampler.choose(logits, Draft()) for _ in range(10)]

    assert ten(3) == ten(3)
    assert ten(3) != ten(4)
