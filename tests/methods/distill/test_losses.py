"""The losses against closed forms, the definition in float64, and loops."""

from __future__ import annotations

import math

import pytest
import torch

from tiku.methods.distill._losses import answer_loss, hidden_loss, relation_loss

LN3 = math.log(3.0)


def test_answer_loss_is_kl_of_teacher_from_student_in_this_direction():
    teacher, student = torch.tensor([[LN3, 0.0]]), torch.tensor([[0.0, 0.0]])  # (3/4, 1/4) and (1/2, 1/2)
    there = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    back = 0.5 * math.log(2 / 3) + 0.5 * math.log(2.0)
    assert answer_loss(student, teacher, 1.0).item() == pytest.approx(there, rel=1e-6)
    assert answer_loss(teacher, student, 1.0).item() == pytest.approx(back, rel=1e-6)
    assert abs(there - back) > 0.01


@pytest.mark.parametrize("temperature", [0.5, 2.0, 7.0])
def test_temperature_divides_the_logits_and_its_square_multiplies_the_loss(temperature):
    teacher, student = torch.tensor([[temperature * LN3, 0.0]]), torch.tensor([[0.0, 0.0]])
    at_one = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert answer_loss(student, teacher, temperature).item() == pytest.approx(
        temperature**2 * at_one, rel=1e-5
    )


def test_gradient_is_that_of_the_definition_and_of_its_closed_form():
    draw = torch.Generator().manual_seed(0)
    student = torch.randn(5, 7, generator=draw, dtype=torch.float64, requires_grad=True)
    teacher, temperature = torch.randn(5, 7, generator=draw, dtype=torch.float64), 3.0
    (found,) = torch.autograd.grad(answer_loss(student, teacher, temperature).sum(), student)
    p = torch.softmax(teacher / temperature, -1)
    definition = torch.nn.functional.kl_div(
        torch.log_softmax(student / temperature, -1), p, reduction="sum"
    ) * (temperature * temperature)
    (expected,) = torch.autograd.grad(definition, student)
    assert torch.allclose(found, expected, atol=1e-12)
    closed = temperature * (torch.softmax(student.detach() / temperature, -1) - p)
    assert torch.allclose(found, closed, atol=1e-12)


def test_at_high_temperatures_the_gradient_no_longer_depends_on_it():
    draw = torch.Generator().manual_seed(1)
    student, teacher = torch.randn(1, 6, generator=draw), torch.randn(1, 6, generator=draw)
    slopes = []
    for temperature in (100.0, 400.0):
        leaf = student.double().requires_grad_()
        answer_loss(leaf, teacher.double(), temperature).sum().backward()
        slopes.append(leaf.grad)
    assert torch.allclose(slopes[0], slopes[1], rtol=0.02, atol=1e-4)
    apart = (student - teacher).double()
    assert torch.allclose(slopes[1], (apart - apart.mean()) / 6, rtol=0.02, atol=1e-3)


def test_hidden_loss_counts_angles_of_real_tokens_only():
    student = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [5.0, 5.0]]])
    teacher = torch.tensor([[[3.0, 0.0], [1.0, 0.0], [-1.0, -1.0]]])  # 0, 90 and 180 degrees
    assert hidden_loss(student, teacher, torch.tensor([[True, True, False]])).item() == pytest.approx(0.5)
    assert hidden_loss(student, teacher, torch.ones(1, 3, dtype=torch.bool)).item() == pytest.approx(1.0)


@pytest.mark.parametrize("causal", [True, False])
def test_relation_loss_is_the_kl_of_attention_written_as_loops(causal):
    draw = torch.Generator().manual_seed(2)
    student, teacher = (torch.randn(2, 4, width, generator=draw).double() for width in (6, 10))
    mask, heads = torch.tensor([[True] * 4, [True, True, True, False]]), 2
    total, rows = 0.0, 0
    for b in range(2):
        length = int(mask[b].sum())
        for i in range(length):
            seen = range(i + 1) if causal else range(length)
            for h in range(heads):
                logs = []
                for states in (teacher, student):
                    size = states.shape[2] // heads
                    own = states[b, :, h * size : (h + 1) * size]
                    scores = [float(own[i] @ own[j]) / math.sqrt(size) for j in seen]
                    whole = math.log(sum(map(math.exp, scores)))
                    logs.append([s - whole for s in scores])
                total += sum(math.exp(t) * (t - s) for t, s in zip(*logs, strict=True))
                rows += 1
    found = relation_loss(student, teacher, mask, heads, causal=causal).item()
    assert found == pytest.approx(total / rows, rel=1e-6)


def test_equal_relations_cost_nothing():
    states = torch.randn(1, 5, 8)
    mask = torch.ones(1, 5, dtype=torch.bool)
    assert relation_loss(states, states.clone(), mask, 2, causal=True).item() == pytest.approx(0.0, abs=1e-6)
