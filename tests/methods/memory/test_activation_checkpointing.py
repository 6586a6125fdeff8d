"""What recomputing gives is measured in a fresh process, marked for later training, and told."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.questions.evidence import evidence, trial
from tests.training.cases import bag_subject
from tiku.artefact import open_artefact, write
from tiku.core.instrument import Workbench
from tiku.core.protocol import Protocol
from tiku.core.recipe import Recipe
from tiku.measure.instruments.training_memory import INSTRUMENT
from tiku.methods.memory.activation_checkpointing import ActivationCheckpointing
from tiku.methods.speed.finetune import Finetune
from tiku.questions._training_peaks import training_peaks
from tiku.testing import tiny_classifier, tiny_context, tiny_texts

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="begins new peaks")


def _deep_classifier():
    """Activations that outweigh the weights: 12 blocks, each 16 KB wide in its middle."""
    from transformers import BertConfig, BertForSequenceClassification

    subject = tiny_classifier()
    given = {**subject.module.config.to_dict(), "num_hidden_layers": 12, "intermediate_size": 4_096}
    return replace(subject, module=BertForSequenceClassification(BertConfig(**given)).eval())


def test_peak_of_a_training_step_falls_and_becomes_a_metric_and_a_line(tmp_path: Path) -> None:
    subject, context = _deep_classifier(), tiny_context(tmp_path)
    changed = ActivationCheckpointing(batch_tokens=600, rounds=2).apply(subject, context)
    found = changed.facts["activation_checkpointing"]
    assert found["blocks"] == 12 and found["gradient_difference"] < 1e-6
    # 12 blocks keep two arrays of 4,096 floats per token: 600 x 12 x 2 x 16 KB is over 230 MB
    assert all(b - a > 100_000_000 for a, b in zip(found["recomputed"], found["kept"], strict=True))
    for name, one in (("base", subject), ("candidate", changed)):
        write(one, tmp_path / name, recipe=Recipe(), examples=tiny_texts(4))
    base, candidate = (open_artefact(tmp_path / name, threads=1) for name in ("base", "candidate"))
    assert not INSTRUMENT.supports(Workbench(base, base, (), Protocol()))
    reading = INSTRUMENT.measure(Workbench(candidate, base, (), Protocol()))
    compared = reading.against_base["training_memory"]
    assert compared.effect < 0.9 and compared.value == pytest.approx(found["recomputed"][0], rel=0.2)
    done = replace(
        trial("activation-checkpointing", details={"training_memory": reading.details}),
        against_base=reading.against_base,
    )
    (told,) = training_peaks(evidence(done))
    for text in (told.en, told.zh):
        assert f"×{compared.effect:.2f}" in text and f"×{found['time_ratio']:.2f}" in text


def test_training_that_follows_recomputes(tmp_path: Path) -> None:
    context = tiny_context(tmp_path)
    marked = replace(tiny_classifier(), facts={"checkpoint_activations": True})
    trained = Finetune(epochs=1, min_steps=0, precision="fp32").apply(marked, context)
    assert trained.facts["learning_curve"]["checkpoint_activations"] is True


def test_model_without_repeated_blocks_is_refused_with_the_reason() -> None:
    support = ActivationCheckpointing().supports(bag_subject())
    assert not support and "repeats no block" in support.reason.en
