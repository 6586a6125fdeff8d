"""What lossless-weights and half-weights do to a model, its files and its memory."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tiku.artefact import load_subject, open_artefact, write
from tiku.core.recipe import Recipe
from tiku.core.subject import Numerics
from tiku.methods.memory.half_weights import HalfWeights
from tiku.methods.memory.lossless_weights import LosslessWeights
from tiku.methods.memory.sparse_storage import SparseStorage
from tiku.testing import tiny_classifier, tiny_context, tiny_language_model, tiny_texts


def with_weight(value: float):
    subject = tiny_classifier()
    module = copy.deepcopy(subject.module)
    module.classifier.weight.data[0, 0] = value
    return replace(subject, module=module)


@pytest.mark.parametrize(("dtype", "numpy_like"), [("fp16", np.float16), ("bf16", None)])
def test_weights_are_rounded_to_the_nearest_number_of_16_bits(dtype, numpy_like, tmp_path: Path) -> None:
    subject = tiny_classifier()
    halved = HalfWeights(dtype).apply(subject, tiny_context(tmp_path))
    before, after = subject.module.state_dict(), halved.module.state_dict()
    for name in before:
        wide = before[name].numpy().astype(np.float64)
        if numpy_like is not None:
            wanted = wide.astype(np.float32).astype(numpy_like).astype(np.float64)
            assert np.array_equal(after[name].numpy(), wanted.astype(np.float32))
        else:  # half of the last of 8 bits
            _, exponent = np.frexp(wide)
            assert (np.abs(after[name].numpy() - wide) <= np.ldexp(0.5, exponent - 8)).all()
    facts = halved.facts["half_weights"]
    assert 0 < facts["relative_error"] < 2.0**-9 * (1 if dtype == "bf16" else 0.125) * 1.01
    assert facts["vanished"] == 0


def test_what_fp16_cannot_hold_is_refused_and_bf16_takes_it() -> None:
    support = HalfWeights("fp16").supports(with_weight(7e4))
    assert not support and "classifier.weight reaches 7e+04" in support.reason.en
    assert HalfWeights("bf16").supports(with_weight(7e4))
    assert HalfWeights("fp16").supports(with_weight(65504.0))
    assert not HalfWeights("bf16").supports(with_weight(3.4e38))


def test_weights_that_vanish_in_fp16_are_counted(tmp_path: Path) -> None:
    halved = HalfWeights("fp16").apply(with_weight(1e-9), tiny_context(tmp_path))
    assert halved.facts["half_weights"]["vanished"] == 1


def test_tied_weights_stay_tied_and_are_counted_once(tmp_path: Path) -> None:
    subject = tiny_language_model()
    module = copy.deepcopy(subject.module)
    module.config.tie_word_embeddings = True
    module.tie_weights()
    halved = HalfWeights().apply(replace(subject, module=module), tiny_context(tmp_path))
    assert halved.module.lm_head.weight is halved.module.model.embed_tokens.weight


def test_a_halved_file_is_half_as_large_and_answers_as_the_rounded_module(tmp_path: Path) -> None:
    subject, texts = tiny_classifier(), tiny_texts(8)
    halved = HalfWeights("fp16").apply(subject, tiny_context(tmp_path))
    manifest = write(halved, tmp_path / "half", recipe=Recipe(), examples=texts)
    write(subject, tmp_path / "full", recipe=Recipe(), examples=texts)
    header = 8192  # names and places of the tensors take as much in both
    half, full = (
        (tmp_path / name / "model" / "model.safetensors").stat().st_size for name in ("half", "full")
    )
    assert half < full / 2 + header
    assert manifest.check["max_abs_diff_to_module"] == 0.0
    assert {p.dtype for p in load_subject(tmp_path / "half").module.parameters()} == {torch.float32}


def test_few_bit_weights_are_not_halved_and_files_of_other_runtimes_are_left_alone() -> None:
    few = replace(tiny_classifier(), numerics=Numerics("int4-weight-only"))
    assert "int4-weight-only" in HalfWeights().supports(few).reason.en
    exported = replace(tiny_classifier(), runtime="onnxruntime")
    for method in (HalfWeights(), LosslessWeights()):
        assert "onnxruntime writes" in method.supports(exported).reason.en


def test_both_methods_together_keep_both_wishes(tmp_path: Path) -> None:
    subject, context = tiny_classifier(), tiny_context(tmp_path)
    for method in Recipe.of(LosslessWeights(), HalfWeights()).methods():
        assert method.supports(subject)
        subject = method.apply(subject, context)
    manifest = write(subject, tmp_path / "a", recipe=Recipe(), examples=tiny_texts(4))
    assert manifest.runtime_options["storage"] == {"lossless": "zlib", "half": "bf16"}
    opened = open_artefact(tmp_path / "a")
    assert np.isfinite(opened.predict(tiny_texts(3))).all()
    opened.close()


def test_zstd_is_refused_with_the_line_that_installs_it(monkeypatch) -> None:
    monkeypatch.setattr("tiku.methods.memory.lossless_weights.zstd_installed", lambda: False)
    support = LosslessWeights("zstd").supports(tiny_classifier())
    assert "pip install 'tiku[weights]'" in support.reason.en
    assert LosslessWeights("zlib").supports(tiny_classifier())


def test_sparse_storage_of_dense_weights_is_refused_with_the_share_of_zeros() -> None:
    support = SparseStorage().supports(tiny_language_model())
    assert not support and "too few zeros" in support.reason.en


def test_a_mask_that_left_negative_zeros_is_stored_without_them(tmp_path: Path) -> None:
    subject = tiny_classifier()
    module = copy.deepcopy(subject.module)
    matrices = [p for p in module.parameters() if p.ndim == 2]
    for one in matrices:  # as pruning does: -0.0 where weights were negative
        one.data *= torch.rand(one.shape, generator=torch.Generator().manual_seed(0)) < 0.1
    weight = module.bert.encoder.layer[0].intermediate.dense.weight
    masked = replace(subject, module=module)
    assert SparseStorage().supports(masked)
    stored = SparseStorage().apply(masked, tiny_context(tmp_path))
    write(stored, tmp_path / "sparse", recipe=Recipe(), examples=tiny_texts(4))
    opened = load_subject(tmp_path / "sparse").module.bert.encoder.layer[0].intermediate.dense.weight
    assert torch.equal(opened, weight) and not torch.signbit(opened[opened == 0]).any()
    assert torch.signbit(weight[weight == 0]).any()  # the subject that came in is as it was
    write(masked, tmp_path / "dense", recipe=Recipe(), examples=tiny_texts(4))
    sparse, dense = (
        next((tmp_path / name / "model").glob("*.safetensors")).stat().st_size for name in ("sparse", "dense")
    )
    saved = sum(4 * int((one == 0).sum()) - one.numel() / 8 for one in matrices)  # a bit for each number
    assert dense - sparse > 0.9 * saved
