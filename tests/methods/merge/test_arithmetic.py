"""The arithmetic of merging on numbers worked by hand."""

import math

import pytest
import torch
from torch import nn

from tiku.methods.merge._arithmetic import (
    combined,
    disjoint_mean,
    mean,
    minus,
    slerp,
    trimmed,
    weights_of,
    with_weights,
)


def test_the_arc_between_perpendicular_tensors_keeps_their_length():
    a, b = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    middle = slerp(a, b, 0.5)
    torch.testing.assert_close(middle, torch.full((1, 2), 3 / math.sqrt(2)))
    third = slerp(a, b, 1 / 3)  # 30 degrees along
    torch.testing.assert_close(third, torch.tensor([[3 * math.cos(math.pi / 6), 3 * math.sin(math.pi / 6)]]))


def test_the_arc_begins_and_ends_at_the_two_models():
    torch.manual_seed(0)
    a, b = torch.randn(4, 5), torch.randn(4, 5)
    torch.testing.assert_close(slerp(a, b, 0.0), a)
    torch.testing.assert_close(slerp(a, b, 1.0), b)


@pytest.mark.parametrize("b", [[2.0, 4.0], [0.0, 0.0], [1.0, 2.0], [-1.0, -2.0]])
def test_parallel_and_zero_tensors_are_interpolated_straight(b):
    a, b = torch.tensor([1.0, 2.0]), torch.tensor(b)
    torch.testing.assert_close(slerp(a, b, 0.25), 0.75 * a + 0.25 * b)


def test_trimming_counts_over_the_whole_task_vector():
    task = {"x": torch.tensor([0.1, -5.0, 0.2]), "y": torch.tensor([[3.0, -0.3]])}
    kept = trimmed(task, 0.4)  # two of five: -5 and 3
    assert kept["x"].tolist() == [0, -5, 0] and kept["y"].tolist() == [[3, 0]]
    assert all(torch.equal(trimmed(task, 1.0)[name], task[name]) for name in task)


def test_elected_signs_and_disjoint_mean_of_three_models():
    # totals +3, -1, +2, 0, 0: the mean is taken over the values of the winning sign alone
    a = torch.tensor([4.0, 1.0, 0.0, 0.0, 2.0])
    b = torch.tensor([-2.0, -3.0, 2.0, 0.0, -2.0])
    c = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0])
    assert disjoint_mean(a, b, c).tolist() == [2.5, -3.0, 2.0, 0.0, 0.0]


def test_mean_of_equal_models_is_bit_for_bit_the_model():
    torch.manual_seed(1)
    weights = {"x": torch.randn(7)}
    assert torch.equal(mean([weights] * 3)["x"], weights["x"])


def test_mean_and_task_vectors_are_plain_sums():
    a, b = {"x": torch.tensor([1.0, 2.0])}, {"x": torch.tensor([5.0, -2.0])}
    assert mean([a, b])["x"].tolist() == [3, 0]
    assert minus(b, a)["x"].tolist() == [4, -4]
    assert combined(lambda x, y: x * y, a, b)["x"].tolist() == [5, -4]


def test_tied_weights_count_once_and_stay_tied():
    module = nn.Sequential(nn.Embedding(3, 4), nn.Linear(4, 3, bias=False))
    module[1].weight = module[0].weight
    assert list(weights_of(module)) == ["0.weight"]
    made = with_weights(module, {"0.weight": torch.ones(3, 4)})
    assert made[1].weight is made[0].weight and made[1].weight.sum() == 12
    assert module[0].weight.sum() != 12
