"""bfloat16 and float16: stored so, multiplied so, answered in float32, and only where it pays."""

from dataclasses import replace

import numpy as np
import openvino
import pytest
import torch
import transformers
from safetensors import safe_open

from tiku.artefact import open_artefact, write
from tiku.artefact.loading import load_subject
from tiku.artefact.verifier import verify
from tiku.core.errors import ModelError
from tiku.core.recipe import Recipe
from tiku.core.subject import Numerics
from tiku.methods.compile.openvino import OpenVinoMethod
from tiku.methods.quantize.bfloat16 import BFloat16
from tiku.methods.quantize.float16 import Float16
from tiku.runtimes import _sixteen_bits
from tiku.testing import tiny_classifier, tiny_context, tiny_language_model
from tiku.testing.tiny import tiny_texts

FORMATS = {"bf16": (BFloat16, torch.bfloat16, "BF16", 8), "fp16": (Float16, torch.float16, "F16", 11)}


@pytest.fixture
def able(monkeypatch):
    """A processor with both instruction sets: torch computes both everywhere, the slow way if it must."""
    monkeypatch.setattr(_sixteen_bits, "_flags", lambda: frozenset({"avx512_bf16", "avx512_fp16"}))


def _ids(rows=5, tokens=11):
    return np.random.default_rng(0).integers(4, 24, size=(rows, tokens))


@pytest.mark.parametrize("make", [tiny_classifier, tiny_language_model])
@pytest.mark.parametrize("scheme", FORMATS)
def test_files_and_arithmetic_are_16_bits_and_logits_float32(able, make, scheme, tmp_path):
    method, dtype, stored, _ = FORMATS[scheme]
    subject = method().apply(make(), tiny_context(tmp_path))
    write(subject, tmp_path / "a", recipe=Recipe.of(method()), examples=tiny_texts(6))
    with safe_open(tmp_path / "a" / "model" / "model.safetensors", framework="numpy") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {stored}  # noqa: SIM118
    opened = open_artefact(tmp_path / "a", threads=1, device="cpu")
    assert {p.dtype for p in opened.session.module.parameters()} == {dtype}
    logits = opened.session.run({"input_ids": _ids()})
    with torch.inference_mode():
        own = subject.module(input_ids=torch.from_numpy(_ids())).logits.float().numpy()
    opened.close()
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits, own)


@pytest.mark.parametrize("make", [tiny_classifier, tiny_language_model])
@pytest.mark.parametrize("scheme", FORMATS)
def test_logits_are_as_near_float32_as_the_format_is_fine(able, make, scheme, tmp_path):
    method, _, _, precision = FORMATS[scheme]
    subject = make()
    narrow = method().apply(subject, tiny_context(tmp_path))
    ids = torch.from_numpy(_ids())
    with torch.inference_mode():
        exact, rough = (s.module(input_ids=ids).logits.float() for s in (subject, narrow))
    away = float((exact - rough).abs().max() / exact.abs().max())
    assert 0 < away < 30 * 2.0**-precision  # a few roundings in each of two layers


def test_every_weight_is_rounded_to_the_nearest(able, tmp_path):
    subject = tiny_language_model()
    narrow = dict(BFloat16().apply(subject, tiny_context(tmp_path)).module.named_parameters())
    for name, weights in subject.module.named_parameters():
        # bfloat16 keeps 8 significant bits: the nearest is at most half a unit of the last one away
        assert ((narrow[name].float() - weights).abs() <= weights.abs() * 2.0**-8).all()


def test_rotary_frequencies_stay_exact(able, tmp_path):
    subject = tiny_language_model()
    narrow = BFloat16().apply(subject, tiny_context(tmp_path))
    pairs = zip(subject.module.named_buffers(), narrow.module.named_buffers(), strict=True)
    assert all(torch.equal(a, b) and a.dtype == b.dtype for (_, a), (_, b) in pairs)


def test_tied_weights_stay_tied(able, tmp_path):
    config = transformers.LlamaConfig(
        vocab_size=24, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48,
        tie_word_embeddings=True,
    )  # fmt: skip
    subject = replace(tiny_language_model(), module=transformers.LlamaForCausalLM(config).eval())
    made = BFloat16().apply(subject, tiny_context(tmp_path)).module
    assert made.lm_head.weight is made.model.embed_tokens.weight
    assert subject.module.lm_head.weight.dtype == torch.float32


def test_a_cache_continues_what_was_read(able, tmp_path):
    subject = BFloat16().apply(tiny_language_model(), tiny_context(tmp_path))
    write(subject, tmp_path / "a", recipe=Recipe.of(BFloat16()), examples=tiny_texts(6))
    opened = open_artefact(tmp_path / "a", threads=1, device="cpu")
    whole = opened.session.run({"input_ids": _ids(1)})
    _, cache = opened.session.extend(_ids(1)[:, :7])
    rest, _ = opened.session.extend(_ids(1)[:, 7:], cache)
    opened.close()
    np.testing.assert_allclose(rest, whole[:, 7:], atol=0.05 * np.abs(whole).max())


def test_the_artefact_opens_without_tiku_and_can_be_taken_back(able, tmp_path):
    subject = BFloat16().apply(tiny_classifier(), tiny_context(tmp_path))
    write(subject, tmp_path / "a", recipe=Recipe.of(BFloat16()), examples=tiny_texts(6))
    report = verify(tmp_path / "a")
    assert report.ok and report.without_tiku
    again = load_subject(tmp_path / "a")
    assert again.numerics.scheme == "bf16"
    assert {p.dtype for p in again.module.parameters()} == {torch.bfloat16}


def test_a_processor_without_the_instructions_is_refused_with_that_reason(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(_sixteen_bits, "_flags", lambda: frozenset({"avx2", "avx512f"}))
    assert "no bf16 arithmetic (AVX-512 BF16" in BFloat16().supports(tiny_classifier()).reason.en
    assert "no fp16 arithmetic (AVX-512 FP16" in Float16().supports(tiny_classifier()).reason.en
    monkeypatch.setattr(_sixteen_bits, "_flags", lambda: frozenset({"avx512_bf16"}))
    assert BFloat16().supports(tiny_classifier()) and not Float16().supports(tiny_classifier())


def test_a_gpu_computes_both(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(_sixteen_bits, "_flags", frozenset)
    assert BFloat16().supports(tiny_classifier()) and Float16().supports(tiny_classifier())


def test_other_runtimes_and_rounded_models_are_refused(able):
    for runtime in ("onnxruntime", "torch-compile"):
        assert not BFloat16().supports(replace(tiny_classifier(), runtime=runtime))
    rounded = replace(tiny_classifier(), numerics=Numerics("int8-dynamic"))
    assert "already int8-dynamic" in BFloat16().supports(rounded).reason.en


def test_a_weight_beyond_the_range_of_float16_is_an_error_that_names_it(able, tmp_path):
    subject = tiny_classifier()
    subject.module.classifier.weight.data[0, 0] = 70_000.0
    with pytest.raises(ModelError, match="too large for fp16") as error:
        Float16().apply(subject, tiny_context(tmp_path))
    assert error.value.got == "classifier.weight"
    assert BFloat16().apply(subject, tiny_context(tmp_path)).module.classifier.weight.isfinite().all()


def test_the_tolerance_of_the_proof_is_no_finer_than_the_format(able, tmp_path):
    subject = BFloat16().apply(tiny_language_model(), tiny_context(tmp_path))
    manifest = write(subject, tmp_path / "a", recipe=Recipe.of(BFloat16()), examples=tiny_texts(6))
    largest = np.abs(np.load(tmp_path / "a" / "check.npz")["logits"]).max()
    grain = torch.finfo(torch.bfloat16).eps  # between one and the next number
    assert grain * largest <= manifest.check["tolerance"] <= 0.05 * max(1.0, largest)


def test_openvino_stores_bfloat16_asks_for_it_and_answers_as_near_as_it_is_fine(able, tmp_path):
    subject = tiny_classifier()
    methods = (BFloat16(), OpenVinoMethod())
    narrow = subject
    for method in methods:
        assert method.supports(narrow)
        narrow = method.apply(narrow, tiny_context(tmp_path))
    write(narrow, tmp_path / "a", recipe=Recipe.of(*methods), examples=tiny_texts(6))
    model = openvino.Core().read_model(tmp_path / "a" / "model" / "openvino_model.xml")
    weights = [op for op in model.get_ops() if op.get_type_name() == "Constant" and op.get_byte_size() >= 256]
    assert {op.get_element_type() for op in weights if op.get_element_type().is_real()} == {
        openvino.Type.bf16
    }
    assert model.get_rt_info(["runtime_options", "INFERENCE_PRECISION_HINT"]).astype(str) == "bf16"
    opened = open_artefact(tmp_path / "a", threads=1, device="cpu")
    given = {"input_ids": _ids(), "attention_mask": np.ones_like(_ids()), "token_type_ids": 0 * _ids()}
    logits = opened.session.run(given)
    with torch.inference_mode():
        own = subject.module(input_ids=torch.from_numpy(_ids())).logits.numpy()
    opened.close()
    away = np.abs(logits - own).max() / np.abs(own).max()
    assert 0 < away < 2.0**-4
    assert verify(tmp_path / "a").ok


def test_openvino_needs_the_processor_for_bfloat16(monkeypatch):
    monkeypatch.setattr(_sixteen_bits, "_flags", lambda: frozenset())
    subject = replace(tiny_classifier(), numerics=Numerics("bf16"))
    assert "no bf16" in OpenVinoMethod().supports(subject).reason.en
