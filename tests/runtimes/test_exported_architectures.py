"""Architectures beyond BERT in the exporting runtimes: the same answers at every length, or the reason."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers

from tests.models.architectures import logits, texts, tokenizer, write_classifier
from tiku.core import registry
from tiku.core.errors import ModelError

FAMILY = registry.get("models", "text-classification")
# One of each kind of position, attention and pooling; openvino takes seconds for each.
EXPORTED = [
    *(("onnxruntime", kind) for kind in ("distilbert", "roberta", "deberta-v2", "modernbert", "xlnet")),
    *(("onnxruntime", kind) for kind in ("bart", "t5", "gpt2", "qwen3", "gemma2")),
    *(("openvino", kind) for kind in ("modernbert", "gpt2")),
]


def _save(runtime, subject, folder):
    registry.get("runtimes", runtime).save(replace(subject, runtime=runtime), folder)
    return registry.get("runtimes", runtime).open(
        folder, task="text-classification", options={}, threads=1, device="cpu"
    )


@pytest.mark.parametrize(("runtime", "kind"), EXPORTED)
def test_exported_graph_answers_like_the_module_at_every_length(runtime, kind, tmp_path):
    subject = FAMILY.load(str(write_classifier(tmp_path / "model", kind)), cache=tmp_path)
    session = _save(runtime, subject, tmp_path / "graph")
    for inputs in (texts(9), ["good"], texts(3, seed=1), [" ".join(["a bad film"] * 40)], ["dull", "slow"]):
        own = logits(FAMILY, subject, inputs)
        batch = FAMILY.collate(subject.processor, FAMILY.encode(subject.processor, inputs, None))
        np.testing.assert_allclose(session.run(batch), own, atol=1e-4 * max(1, np.abs(own).max()))
    session.close()


def _random(model, config, **shape):
    torch.manual_seed(0)
    made = getattr(transformers, model)(getattr(transformers, config)(vocab_size=24, pad_token_id=0, **shape))
    processor = tokenizer()
    processor.model_input_names = ["input_ids", "attention_mask"][: 1 if "FNet" in model else 2]
    from tiku.core.subject import Subject

    return Subject("text-classification", "text-classification", made.eval(), processor)


_SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 48, "max_position_embeddings": 64}


def test_graph_that_keeps_the_lengths_of_its_examples_is_refused(tmp_path):
    subject = _random(
        "FunnelForSequenceClassification", "FunnelConfig",
        block_sizes=[1, 1], d_model=32, n_head=4, d_head=8, d_inner=48,
    )  # fmt: skip
    with pytest.raises(ModelError, match="right only at the lengths it was traced with") as caught:
        _save("onnxruntime", subject, tmp_path)
    assert "Funnel" in caught.value.got and "torch" in caught.value.next_step


def test_operator_that_onnx_lacks_is_named_and_nothing_is_printed(tmp_path, capfd):
    subject = _random("FNetForSequenceClassification", "FNetConfig", **_SMALL)
    with pytest.raises(ModelError, match="cannot be traced for onnxruntime") as caught:
        _save("onnxruntime", subject, tmp_path)
    assert "fft" in caught.value.got
    assert capfd.readouterr().out == ""


def test_operator_that_openvino_lacks_is_named_and_not_a_line_of_its_sources(tmp_path):
    subject = _random(
        "XLMForSequenceClassification", "XLMConfig", emb_dim=32, n_layers=1, n_heads=4,
        max_position_embeddings=64,
    )  # fmt: skip
    with pytest.raises(ModelError, match="cannot be traced for openvino") as caught:
        _save("openvino", subject, tmp_path)
    assert "Conversion is failed for" in caught.value.got and ".cpp" not in caught.value.got
