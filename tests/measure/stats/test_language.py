import math
from itertools import combinations

import numpy as np
import pytest

from tiku.core.errors import DataError
from tiku.measure.stats import (
    bits_per_byte,
    compare_perplexity,
    pass_at_k,
    pass_at_k_interval,
    perplexity,
)

from .simulation import assert_nominal, clustered, metric


def test_perplexity_and_bits_per_byte_of_a_uniform_model_are_its_alphabet() -> None:
    tokens = np.array([5, 17, 40])
    assert perplexity(tokens * math.log(50), tokens).value == pytest.approx(50)
    found = bits_per_byte(tokens * math.log(256), tokens)
    assert (found.value, found.low, found.high) == pytest.approx((8, 8, 8))


def test_perplexity_weighs_documents_by_their_tokens() -> None:
    assert perplexity([10.0, 1.0], [10, 10]).value == pytest.approx(math.exp(11 / 20))
    assert perplexity([10.0, 1.0], [10, 1]).value == pytest.approx(math.exp(1))


def _documents(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Documents of uneven length, each with a difficulty of its own; 3 nats per token on average."""
    tokens = rng.integers(20, 400, n)
    return tokens * (3 + 0.4 * rng.standard_normal(n)) + rng.normal(0, np.sqrt(tokens)), tokens


def test_perplexity_covers_though_tokens_of_a_document_depend_on_each_other() -> None:
    assert_nominal(lambda rng: (perplexity(*_documents(rng, 40)), math.exp(3)))


def test_bits_per_byte_covers_by_groups_of_documents() -> None:
    def draw(rng):
        groups, shared = clustered(rng, 40, 3)
        size = rng.integers(50, 200, 120)
        return bits_per_byte(size * (2 + 0.2 * shared), size, groups), 2 / math.log(2)

    assert_nominal(draw)


def test_one_document_gives_no_interval() -> None:
    assert perplexity([10.0], [5]).low is None
    assert bits_per_byte([10.0], [5]).low is None


PPL = metric("perplexity", "lower", "ratio", 0.02)


def test_a_candidate_that_doubles_the_perplexity_of_every_token_is_twice_as_bad() -> None:
    tokens = np.array([5, 17, 40])
    base = tokens * np.array([3.0, 2.0, 4.0])
    found = compare_perplexity(PPL, base, base + tokens * math.log(2), tokens)
    assert (found.low, found.effect, found.high) == pytest.approx((2, 2, 2))
    assert found.value == pytest.approx(2 * found.base) and found.verdict == "worse"
    assert found.base == pytest.approx(math.exp(base.sum() / tokens.sum()))


def test_ratio_of_perplexities_covers_and_is_narrower_than_both_apart() -> None:
    widths = []

    def draw(rng):
        base, tokens = _documents(rng, 40)
        candidate = base + tokens * (0.01 + 0.02 * rng.standard_normal(40))
        found = compare_perplexity(PPL, base, candidate, tokens)
        alone = perplexity(base, tokens)
        widths.append((found.high / found.low, alone.high / alone.low))
        return found, math.exp(0.01)

    assert_nominal(draw)
    assert all(paired < alone for paired, alone in widths)


def test_one_document_cannot_be_compared() -> None:
    with pytest.raises(DataError, match="two documents"):
        compare_perplexity(PPL, [10.0], [11.0], [5])


def test_pass_at_k_equals_drawing_every_subset() -> None:
    for n in range(1, 8):
        for c in range(n + 1):
            for k in range(1, n + 1):
                subsets = list(combinations([1] * c + [0] * (n - c), k))
                expected = sum(any(subset) for subset in subsets) / len(subsets)
                assert pass_at_k([n], [c], k)[0] == pytest.approx(expected, abs=1e-12)


def test_pass_at_k_is_unbiased_where_the_plug_in_is_not() -> None:
    rng = np.random.default_rng(0)
    c = rng.binomial(10, 0.2, 200_000)
    truth = 1 - 0.8**5
    assert pass_at_k(np.full(c.size, 10), c, 5).mean() == pytest.approx(truth, abs=0.004)
    assert (1 - (1 - c / 10) ** 5).mean() < truth - 0.03


def test_pass_at_k_of_many_samples_does_not_overflow() -> None:
    found = pass_at_k([100_000], [1], 100)
    assert found[0] == pytest.approx(100 / 100_000)


def test_pass_at_k_interval_covers() -> None:
    truth = 1 - np.mean((1 - np.random.default_rng(1).beta(0.6, 1.2, 2_000_000)) ** 3)

    def draw(rng):
        c = rng.binomial(8, rng.beta(0.6, 1.2, 80))
        return pass_at_k_interval(np.full(80, 8), c, 3, replicates=500, seed=1), truth

    assert_nominal(draw, 600, least=0.925)


def test_problems_that_all_pass_leave_a_doubt() -> None:
    found = pass_at_k_interval([4] * 20, [4] * 20, 2)
    assert found.value == found.high == 1 and found.low == pytest.approx(0.025 ** (1 / 20))


def test_counts_that_cannot_be_are_refused() -> None:
    for call in (
        lambda: perplexity([-1.0], [3]),
        lambda: perplexity([1.0], [0]),
        lambda: perplexity([1.0, 2.0], [3]),
        lambda: perplexity([1.0], [1.5]),
        lambda: perplexity([1e6], [1]),
        lambda: pass_at_k([3], [4], 1),
        lambda: pass_at_k([3], [1], 4),
        lambda: pass_at_k([3], [1], 0),
        lambda: pass_at_k([0], [0], 1),
    ):
        with pytest.raises(DataError):
            call()
