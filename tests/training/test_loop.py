from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.cases import Bag, bag_subject, context, letters, texts, tiny_subject, weight_hash
from tiku.training import TrainOptions, train
from tiku.training.sampler import Sampler

FAST = TrainOptions(epochs=1, min_steps=0, batch_tokens=128, learning_rate=1e-2, precision="fp32")


def test_it_learns_what_the_words_say(tmp_path: Path) -> None:
    subject = tiny_subject(tmp_path / "m")
    options = TrainOptions(epochs=3, min_steps=120, batch_tokens=256, learning_rate=3e-3)
    trained = train(subject, texts(400), texts(200, seed=1), options, context(tmp_path))
    curve = trained.facts["learning_curve"]
    assert curve["validation"][-1]["accuracy"] > 0.97
    assert curve["train"][0]["loss"] > 0.6 > 0.2 > curve["train"][-1]["loss"]


def _by_hand(words: list[str], labels: list[int], options: TrainOptions, weights: list[float]) -> Bag:
    """AdamW as Loshchilov & Hutter write it down, over the batches in the sampler's order."""
    module = Bag()
    sampler = Sampler([len(w) for w in words], options.batch_tokens, epochs=2, min_steps=0, seed=0)
    moments = {n: (torch.zeros_like(p), torch.zeros_like(p)) for n, p in module.named_parameters()}
    for step in range(sampler.steps):
        chosen = sampler.batch(step).tolist()
        total = torch.zeros(())
        for i in chosen:
            ids = torch.tensor([[ord(c) - 96 for c in words[i]]])
            logits = module(letters=ids)[0]
            total = total + weights[labels[i]] * (torch.logsumexp(logits, 0) - logits[labels[i]])
        loss = total / (len(words) * 2 / sampler.steps)
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        norm = math.sqrt(sum(float(g.pow(2).sum()) for g in gradients))
        shrink = min(1.0, options.clip_norm / (norm + 1e-6))
        rate = options.learning_rate * (1 - (step + 0.5) / sampler.steps)
        with torch.no_grad():
            for (name, p), g in zip(module.named_parameters(), gradients, strict=True):
                first, second = moments[name]
                first.mul_(0.9).add_(0.1 * shrink * g)
                second.mul_(0.999).add_(0.001 * (shrink * g) ** 2)
                if p.ndim == 2:
                    p.mul_(1 - rate * options.weight_decay)
                corrected = first / (1 - 0.9 ** (step + 1))
                p.sub_(rate * corrected / ((second / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8))
    return module


@pytest.mark.parametrize("balanced", [False, True])
def test_the_weights_are_those_of_a_loop_written_out_by_hand(tmp_path: Path, balanced: bool) -> None:
    words, labels = ["abc", "d", "efg", "hijab", "cc", "bad", "jig", "fed"], [0, 1, 0, 1, 0, 0, 0, 0]
    options = TrainOptions(
        epochs=2, min_steps=0, learning_rate=0.05, batch_tokens=8, warmup=0.0, weight_decay=0.1,
        layer_decay=1.0, clip_norm=0.5, precision="fp32",
        class_weights="balanced" if balanced else "none",
    )  # fmt: skip
    weights = [8 / (2 * 6), 8 / (2 * 2)] if balanced else [1.0, 1.0]
    trained = train(bag_subject(), letters(words, labels), None, options, context(tmp_path))
    expected = _by_hand(words, labels, options, weights)
    for name, value in expected.state_dict().items():
        assert torch.allclose(trained.module.state_dict()[name], value, atol=2e-6), name


def test_label_smoothing_keeps_the_model_from_certainty(tmp_path: Path) -> None:
    words, labels = ["a", "b"] * 8, [0, 1] * 8
    for smoothing, expected in ((0.0, None), (0.4, 0.8)):  # the best answer is 1 - s + s / classes
        options = TrainOptions(
            epochs=300, learning_rate=0.1, batch_tokens=16, label_smoothing=smoothing, precision="fp32"
        )
        module = train(bag_subject(), letters(words, labels), None, options, context(tmp_path)).module
        sure = torch.softmax(module(letters=torch.tensor([[1]])), 1)[0, 0].item()
        assert sure > 0.99 if expected is None else sure == pytest.approx(expected, abs=0.01)


def test_the_input_subject_and_the_callers_random_state_are_untouched(tmp_path: Path) -> None:
    subject = tiny_subject(tmp_path / "m")
    before, facts = weight_hash(subject.module), dict(subject.facts)
    torch.manual_seed(11)
    expected = torch.rand(1)
    torch.manual_seed(11)
    threads = torch.get_num_threads()
    trained = train(subject, texts(60), None, FAST, context(tmp_path))
    assert torch.rand(1) == expected and torch.get_num_threads() == threads
    assert weight_hash(subject.module) == before and dict(subject.facts) == facts
    assert weight_hash(trained.module) != before and trained.module is not subject.module
    assert not trained.module.training and trained.facts["head"] == "trained"
    assert all(p.grad is None for p in trained.module.parameters())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path, precision: str) -> None:
    subject = tiny_subject(tmp_path / "m")
    options = TrainOptions(epochs=1, min_steps=0, batch_tokens=128, precision=precision)

    def run(seed: int) -> str:
        return weight_hash(train(subject, texts(60), None, options, context(tmp_path, seed=seed)).module)

    assert run(1) == run(1) != run(2)


def test_looking_at_the_validation_part_does_not_change_the_weights(tmp_path: Path) -> None:
    subject = tiny_subject(tmp_path / "m")
    blind = train(subject, texts(60), None, FAST, context(tmp_path))
    seeing = train(subject, texts(60), texts(40, seed=1), FAST, context(tmp_path))
    assert weight_hash(blind.module) == weight_hash(seeing.module)


def test_weights_stay_float32_when_products_are_bfloat16(tmp_path: Path) -> None:
    options = TrainOptions(epochs=1, min_steps=0, batch_tokens=128, precision="bf16")
    trained = train(tiny_subject(tmp_path / "m"), texts(60), None, options, context(tmp_path))
    assert {p.dtype for p in trained.module.parameters()} == {torch.float32}
    assert trained.facts["learning_curve"]["precision"] == "bf16"


def test_the_learning_curve_is_json_and_adds_up(tmp_path: Path) -> None:
    subject, data = tiny_subject(tmp_path / "m"), texts(300)
    curve = train(subject, data, texts(40, seed=1), FAST, context(tmp_path)).facts["learning_curve"]
    json.dumps(curve, allow_nan=False)
    assert curve["steps"] == curve["train"][-1]["step"] and 15 <= len(curve["train"]) <= 20
    assert [point["step"] for point in curve["validation"]][-1] == curve["steps"]
    words = sum(len(text.split()) + 2 for text in data.texts)  # one token per word, [CLS], [SEP]
    assert curve["tokens"] == words and 0 <= curve["padding_share"] < 0.2
    assert curve["chance_loss"] == pytest.approx(math.log(2))
    assert curve["seconds"] > 0 and curve["cut_examples"] == 0


def test_progress_ends_at_the_last_step_and_names_the_loss(tmp_path: Path) -> None:
    seen: list[tuple[float, float, str]] = []
    receiver = context(tmp_path, progress=lambda done, total, note: seen.append((done, total, note)))
    trained = train(tiny_subject(tmp_path / "m"), texts(60), None, FAST, receiver)
    done, total, note = seen[-1]
    assert done == total == trained.facts["learning_curve"]["steps"] and note.startswith("loss ")
    assert [step for step, _, _ in seen] == sorted(step for step, _, _ in seen)


def test_texts_above_the_length_limit_are_cut_and_counted(tmp_path: Path) -> None:
    options = TrainOptions(epochs=1, min_steps=0, max_length=8, precision="fp32")
    data = texts(60)
    curve = train(tiny_subject(tmp_path / "m"), data, None, options, context(tmp_path)).facts[
        "learning_curve"
    ]
    sizes = [len(text.split()) + 2 for text in data.texts]
    assert curve["cut_examples"] == sum(n >= 8 for n in sizes)
    assert curve["tokens"] == sum(min(n, 8) for n in sizes)


def test_three_classes_are_learnt(tmp_path: Path) -> None:
    classes = ("x", "y", "z")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    words = ["".join(rng.choice(list(["abc", "def", "ghi"][k]), 4)) for k in labels]
    options = TrainOptions(epochs=20, batch_tokens=64, learning_rate=0.05)
    subject = bag_subject(labels=classes)
    data = letters(words, labels.tolist(), classes)
    trained = train(subject, data, data, options, context(tmp_path))
    assert trained.facts["learning_curve"]["validation"][-1]["accuracy"] > 0.99


def test_balanced_class_weights_find_the_rare_class(tmp_path: Path) -> None:
    """Letters say nothing, so the best answer is the share of the weights: 0.5 when balanced, else 0.1."""
    words, labels = ["a"] * 40, [1] * 4 + [0] * 36
    for weights, share in (("none", 0.1), ("balanced", 0.5)):
        options = TrainOptions(
            epochs=300, batch_tokens=40, learning_rate=0.05, class_weights=weights, precision="fp32"
        )
        module = train(bag_subject(), letters(words, labels), None, options, context(tmp_path)).module
        rare = torch.softmax(module(letters=torch.tensor([[1]])), 1)[0, 1].item()
        assert rare == pytest.approx(share, abs=0.01)
