"""Calibration: which texts, which rows, and sums that equal the definition."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.methods.quantize.layers import hessian_of
from tests.methods.quantize.models import gpt2, subject_of
from tiku.core.errors import DataError, ModelError
from tiku.core.method import Context
from tiku.core.subject import Subject
from tiku.data.choices import Choices
from tiku.data.prose import Prose
from tiku.methods.quantize import _calibration
from tiku.methods.quantize._calibration import shared_inputs, statistics
from tiku.methods.quantize._calibration_texts import CalibrationTexts, batches, choose_texts
from tiku.methods.quantize._targets import find_targets
from tiku.testing import tiny_classifier, tiny_context, tiny_language_model, tiny_texts

MANY = 1_000_000


def texts_of(subject: Subject, tmp_path: Path) -> CalibrationTexts:
    return choose_texts(subject, tiny_context(tmp_path), tokens=MANY, window=48)


def inputs_one_by_one(subject: Subject, texts: CalibrationTexts) -> dict[str, torch.Tensor]:
    """What each layer reads, text after text, so that nothing is padded."""
    rows: dict[str, list[torch.Tensor]] = {}
    handles = [
        layer.module.register_forward_hook(
            lambda _m, args, _out, name=layer.name: rows.setdefault(name, []).append(args[0].flatten(0, -2))
        )
        for layer in find_targets(subject).layers
    ]
    with torch.inference_mode():
        for encoding in texts.encodings:
            subject.module(**{key: torch.tensor([value]) for key, value in encoding.items()})
    for handle in handles:
        handle.remove()
    return {name: torch.cat(found) for name, found in rows.items()}


@pytest.mark.parametrize("make", [tiny_classifier, tiny_language_model, lambda: subject_of(gpt2())])
def test_the_sums_equal_the_definition_and_padding_counts_for_nothing(make, tmp_path: Path) -> None:
    subject = make()
    texts = texts_of(subject, tmp_path)
    expected = inputs_one_by_one(subject, texts)
    for group in statistics(subject, find_targets(subject).layers, texts):
        for layer in group.layers:
            x = expected[layer.name]
            assert group.rows == len(x)
            torch.testing.assert_close(group.hessian_II, hessian_of(x), rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(group.absmax, x.abs().amax(0), rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(group.mean_abs_I, x.abs().mean(0), rtol=1e-4, atol=1e-5)


def test_layers_that_read_one_tensor_share_their_sums(tmp_path: Path) -> None:
    subject = tiny_language_model()
    groups = shared_inputs(subject, find_targets(subject).layers, texts_of(subject, tmp_path))
    first = [[layer.name.split(".")[-1] for layer in group.layers] for group in groups[:4]]
    assert first == [["q_proj", "k_proj", "v_proj"], ["o_proj"], ["gate_proj", "up_proj"], ["down_proj"]]


def test_wide_hessians_are_gathered_part_by_part_with_the_same_result(tmp_path: Path, monkeypatch) -> None:
    subject = tiny_language_model()
    texts, layers = texts_of(subject, tmp_path), find_targets(subject).layers
    whole = [group.hessian_II for group in statistics(subject, layers, texts)]
    monkeypatch.setattr(_calibration, "_MOST_BYTES", 4 * 40**2)
    parts = [group.hessian_II for group in statistics(subject, layers, texts)]
    assert len(whole) == len(parts) == 8
    for a, b in zip(whole, parts, strict=True):
        assert torch.equal(a, b)


def test_activations_that_are_not_finite_name_the_layer(tmp_path: Path) -> None:
    subject = tiny_language_model()
    subject.module.model.layers[1].input_layernorm.weight.data[3] = torch.inf
    with pytest.raises(ModelError, match="not finite") as raised:
        list(statistics(subject, find_targets(subject).layers, texts_of(subject, tmp_path)))
    assert "layers.1.self_attn.q_proj" in str(raised.value.got)


def with_parts(context: Context, **parts: object) -> Context:
    return replace(context, splits=(replace(context.splits[0], **parts),))


def test_texts_that_validation_holds_too_are_left_out_and_counted(tmp_path: Path) -> None:
    subject, context = tiny_classifier(), tiny_context(tmp_path)
    own = context.splits[0].calibration
    long = "the slow film was not good and the music was very warm but the plot of it was dull and awful"
    texts = ("a good film", long, "a very bad scene and a dull cast")
    others = ("A  GOOD film", long + " so", "music was great")
    parts = {
        "calibration": replace(own, texts=texts, labels=np.zeros(3, dtype=np.int64)),
        "validation": replace(own, texts=others, labels=np.zeros(3, dtype=np.int64)),
    }
    chosen = choose_texts(subject, with_parts(context, **parts), tokens=MANY, window=48)
    assert chosen.facts["left_out_as_they_stand_in_validation"] == 2 and chosen.facts["texts"] == 1
    parts["validation"] = parts["calibration"]
    with pytest.raises(DataError, match="nothing to calibrate on"):
        choose_texts(subject, with_parts(context, **parts), tokens=MANY, window=48)


def test_no_data_and_an_empty_part_are_errors(tmp_path: Path) -> None:
    subject, context = tiny_classifier(), tiny_context(tmp_path)
    empty = with_parts(context, calibration=context.splits[0].calibration.take([]))
    for given in (replace(context, splits=()), empty):
        with pytest.raises(DataError, match="nothing to calibrate on"):
            choose_texts(subject, given, tokens=MANY, window=48)


def test_the_tokens_asked_for_are_drawn_by_the_seed(tmp_path: Path) -> None:
    subject = tiny_classifier()
    first, again, other = (
        choose_texts(subject, tiny_context(tmp_path, seed=s), tokens=100, window=48) for s in (0, 0, 1)
    )
    assert first.encodings == again.encodings != other.encodings
    assert 100 <= first.facts["tokens"] < 150 and not first.facts["fewer_than_wanted"]


def test_documents_are_cut_into_windows_and_questions_come_with_their_answer(tmp_path: Path) -> None:
    subject, context = tiny_language_model(), tiny_context(tmp_path)
    document = " ".join(tiny_texts(60, seed=1)) + "."
    prose = Prose("p", (document,), ("t",))
    choices = Choices("c", ("the film was",), (("very good", "dull"),), (1,))
    chosen = choose_texts(
        subject, with_parts(context, calibration=prose, validation=prose.take([])), tokens=MANY, window=12
    )
    assert chosen.facts["texts"] > 20 and all(len(e["input_ids"]) <= 12 for e in chosen.encodings)
    asked = choose_texts(
        subject, with_parts(context, calibration=choices, validation=choices.take([])), tokens=MANY, window=12
    )
    words = subject.processor.convert_ids_to_tokens(asked.encodings[0]["input_ids"])
    assert words == ["the", "film", "was", "dull"]


def test_batches_hold_every_text_once_within_the_tokens_allowed(tmp_path: Path) -> None:
    subject = tiny_classifier()
    texts = texts_of(subject, tmp_path)
    made = list(batches(subject, texts, most_tokens=200))
    assert all(b["input_ids"].size <= 200 for b in made)
    assert sum(int(b["attention_mask"].sum()) for b in made) == texts.facts["tokens"]
