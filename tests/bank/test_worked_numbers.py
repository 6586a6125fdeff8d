"""The figures and the counter-examples in the texts, worked out again here from first principles."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch

from tiku.bank.questions import load
from tiku.core.text import Language

NORMAL = NormalDist()


def whole_text(question: str, language: Language) -> str:
    return "\n".join(section.markdown for section in load(question, language).sections)


@pytest.fixture(params=["en", "zh"])
def language(request: pytest.FixtureRequest) -> Language:
    chosen: Language = request.param
    return chosen


def stated(question: str, language: Language, *figures: str) -> bool:
    text = whole_text(question, language)
    return all(figure in text for figure in figures)


def test_wilson_interval_of_90_in_100(language: Language) -> None:
    from scipy.stats import binomtest

    interval = binomtest(90, 100).proportion_ci(method="wilson")
    assert stated("evaluation", language, f"{interval.low:.3f}", f"{interval.high:.3f}")


def test_items_needed_for_one_point_paired_and_unpaired(language: Language) -> None:
    factor = (NORMAL.inv_cdf(0.975) + NORMAL.inv_cdf(0.80)) ** 2
    unpaired = factor * (0.90 * 0.10 + 0.91 * 0.09) / 0.01**2
    paired = factor * (0.10 - 0.01**2) / 0.01**2
    assert (round(unpaired, -2), round(paired, -2)) == (13_500, 7_800)
    assert stated("evaluation", language, "13,500", "7,800")


def test_auc_of_hard_labels_differs_from_auc_of_scores() -> None:
    from sklearn.metrics import roc_auc_score

    labels, scores = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.4])
    assert roc_auc_score(labels, scores) == 1.0
    assert roc_auc_score(labels, scores >= 0.5) == 0.5


def test_interval_of_one_accuracy_on_1000_items_is_two_points() -> None:
    half_width = NORMAL.inv_cdf(0.975) * math.sqrt(0.86 * 0.14 / 1000)
    assert round(100 * half_width) == 2


def test_micro_f1_equals_accuracy_for_single_labels() -> None:
    from sklearn.metrics import accuracy_score, f1_score

    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 4, 300), rng.integers(0, 4, 300)
    assert f1_score(truth, predicted, average="micro") == pytest.approx(accuracy_score(truth, predicted))


def test_only_the_proximal_step_gives_exact_zeros() -> None:
    """Lasso on orthogonal columns of which two carry signal, with Adam's step rule for the subgradient."""
    target, strength, rate = np.array([1.0, -0.8, 0.05, -0.03, 0.01]), 0.1, 0.01
    plain, proximal = np.full(5, 0.5), np.full(5, 0.5)
    first, second = np.zeros(5), np.zeros(5)
    for step in range(1, 3001):
        gradient = plain - target + strength * np.sign(plain)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        plain -= rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        moved = proximal - rate * (proximal - target)
        proximal = np.sign(moved) * np.maximum(np.abs(moved) - rate * strength, 0.0)
    assert not np.any(plain == 0.0)
    assert list(proximal == 0.0) == [False, False, True, True, True]


def test_under_adam_a_penalty_decays_weights_with_large_gradients_less() -> None:
    def shrinkage(optimiser: str) -> list[float]:
        weight = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
        step = getattr(torch.optim, optimiser)([weight], lr=0.001, weight_decay=0.1)
        noise = torch.tensor([1.0, 100.0], dtype=torch.float64)
        for index in range(400):
            weight.grad = noise * (1 if index % 2 else -1)
            step.step()
        return [1 - value for value in weight.detach().tolist()]

    small, large = shrinkage("Adam")
    assert small > 5 * large
    decoupled = shrinkage("AdamW")
    assert decoupled[0] == pytest.approx(decoupled[1], rel=0.1)


def test_share_of_normal_weights_near_zero(language: Language) -> None:
    share = NORMAL.cdf(0.1) - NORMAL.cdf(-0.1)
    assert round(100 * share) == 8
    assert stated("sparsity", language, "0.1")


def test_bytes_of_two_four_and_break_even_of_sparse_formats(language: Language) -> None:
    two_four = (2 * 16 + 2 * 2) / (4 * 16)
    assert f"{100 * two_four:.2f}" == "56.25" and stated("sparsity", language, "56.25")
    four_byte_zeros = 1 - 4 / (4 + 4)  # share of zeros at which value plus index cost as much as dense
    assert stated("sparsity", language, f"{100 * four_byte_zeros:.0f}")
    two_byte_zeros = 1 - 2 / (2 + 4)
    assert two_byte_zeros == pytest.approx(2 / 3)
    assert stated("memory", language, {"en": "two thirds zeros", "zh": "零超过三分之二"}[language])
    assert stated("memory", language, f"{100 / 16:.2f}")  # one bit for each 16-bit weight


def test_bytes_of_training_state_and_of_a_kv_cache(language: Language) -> None:
    assert 7e9 * (2 + 2 + 4 + 4 + 4) == 112e9
    per_token = 2 * 32 * 32 * 128 * 2
    assert per_token == 2**19 and per_token * 4096 == 2 * 2**30
    assert stated("memory", language, "112 GB", "0.5 MiB", "2 GiB", "4,096")


def test_float16_underflow_and_tf32_bits(language: Language) -> None:
    assert np.float16(2.9e-8) == 0.0 and np.float16(3.1e-8) > 0.0
    assert stated("training", language, "3e-8", f"{1 + 8 + 10}")


def test_lora_skips_a_third_of_the_matrix_products() -> None:
    """Counted by torch: a frozen weight drops one product of three (forward, to input, to weight)."""
    from torch.utils.flop_counter import FlopCounterMode

    def flops(trainable: bool) -> int:
        layers = torch.nn.Sequential(*(torch.nn.Linear(64, 64, bias=False) for _ in range(3)))
        layers.requires_grad_(trainable)
        counter = FlopCounterMode(display=False)
        with counter:
            layers(torch.ones(8, 64, requires_grad=True)).sum().backward()
        return int(counter.get_total_flops())

    assert flops(False) / flops(True) == pytest.approx(2 / 3)


def test_radius_of_randomised_smoothing_is_capped(language: Language) -> None:
    lower_bound = 0.001 ** (1 / 100_000)  # Clopper-Pearson when all of n samples agree
    assert round(NORMAL.inv_cdf(lower_bound), 1) == 3.8
    assert stated("robustness", language, "100,000", "3.8")


def test_energy_is_power_times_time(language: Language) -> None:
    assert stated("energy", language, f"{100 * 10:,} J", f"{220 * 5:,} J")


def test_calls_of_exact_and_kernel_shap(language: Language) -> None:
    drawn = 2 * 30 + 2048
    figures = [f"{count:,}" for count in (2**20, drawn * 10_000, drawn * 100)]
    assert figures == ["1,048,576", "21,080,000", "210,800"]
    assert stated("interpretability", language, *figures)


def test_kl_div_wants_student_log_probabilities_then_teacher_probabilities() -> None:
    student, teacher = torch.tensor([[0.3, 1.2, -0.5]]), torch.tensor([[2.0, 0.1, -1.0]])
    p, q = teacher.softmax(-1), student.softmax(-1)
    expected = float((p * (p / q).log()).sum())
    right = torch.nn.functional.kl_div(q.log(), p, reduction="batchmean")
    assert float(right) == pytest.approx(expected, rel=1e-5)
    swapped = torch.nn.functional.kl_div(p.log(), q, reduction="batchmean")
    assert float(swapped) != pytest.approx(expected, rel=1e-2)
    from_logits = torch.nn.functional.kl_div(student, teacher, reduction="batchmean")
    assert float(from_logits) != pytest.approx(expected, rel=1e-2)


def test_gradients_of_softened_targets_shrink_with_the_square_of_the_temperature() -> None:
    def gradient_norm(temperature: float) -> float:
        student = torch.tensor([[0.3, 0.2, -0.1]], dtype=torch.float64, requires_grad=True)
        teacher = torch.tensor([[0.1, 0.4, -0.3]], dtype=torch.float64)
        log_q = (student / temperature).log_softmax(-1)
        p = (teacher / temperature).softmax(-1)
        loss = torch.nn.functional.kl_div(log_q, p, reduction="batchmean")
        return float(torch.autograd.grad(loss, student)[0].norm())

    assert gradient_norm(20.0) / gradient_norm(40.0) == pytest.approx(4.0, rel=0.02)
