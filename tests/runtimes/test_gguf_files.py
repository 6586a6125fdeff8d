"""GGUF files: read back by the reference package and by transformers, weight for weight. No llama.cpp."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from tests.measure.language.models import gpt2, sharpened
from tests.runtimes.test_packed_weights import nearest
from tiku.core.errors import ModelError
from tiku.core.subject import Numerics, Subject
from tiku.layers.quantized_linear import QuantizedLinear
from tiku.runtimes._gguf_writing import describable, write_gguf
from tiku.testing import tiny_language_model, tiny_texts

_SIZES = {
    "vocab_size": 70, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 96, "max_position_embeddings": 64,
}  # fmt: skip


def made(kind: str, **changed: Any) -> Any:
    config = getattr(transformers, f"{kind}Config")(**{**_SIZES, **changed})
    return sharpened(getattr(transformers, f"{kind}ForCausalLM"), config, 0)


def subject_of(module: Any, **changed: Any) -> Subject:
    return replace(tiny_language_model(), module=module, **changed)


def written(subject: Subject, folder: Any) -> Any:
    assert describable(subject), describable(subject).reason
    write_gguf(subject, folder / "model.gguf")
    return gguf.GGUFReader(folder / "model.gguf")


def by_transformers(folder: Any) -> dict[str, torch.Tensor]:
    module = transformers.AutoModelForCausalLM.from_pretrained(
        folder, gguf_file="model.gguf", dtype=torch.float32,
        quantization_config=transformers.GgufConfig(dequantize=True),
    )  # fmt: skip
    return module.state_dict()


KINDS = {
    "llama": lambda: made("Llama"),
    "llama, tied": lambda: made("Llama", tie_word_embeddings=True),
    "llama, biases": lambda: made("Llama", attention_bias=True, mlp_bias=True),
    "mistral": lambda: made("Mistral", sliding_window=None, head_dim=16),
    "qwen2": lambda: made("Qwen2"),
    "qwen3, heads wider than the model": lambda: made("Qwen3", head_dim=128, tie_word_embeddings=True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_reads_back_the_same_weights(kind, tmp_path):
    module = KINDS[kind]()
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_()
    written(subject_of(module), tmp_path)
    stored = by_transformers(tmp_path)
    for name, own in module.state_dict().items():
        if "bias" in name and name not in stored:
            continue  # transformers' loader makes a Llama without biases; the next test reads them
        assert torch.equal(stored[name], own), name


def test_biases_move_with_the_rows_of_their_layer(tmp_path):
    module = made("Llama", attention_bias=True)
    layer = module.model.layers[1].self_attn.q_proj
    layer.weight.data[:, 0] = layer.bias.data.normal_()
    tensors = {tensor.name: tensor.data for tensor in written(subject_of(module), tmp_path).tensors}
    rows, bias = tensors["blk.1.attn_q.weight"][:, 0], tensors["blk.1.attn_q.bias"]
    assert np.array_equal(rows, bias) and not np.array_equal(bias, layer.bias.detach().numpy())
    assert np.array_equal(bias[:16:2], layer.bias.detach().numpy()[:8])  # number i beside number i + 8 of 16
    assert np.array_equal(bias[1:16:2], layer.bias.detach().numpy()[8:16])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_stay_sixteen_bits(dtype, tmp_path):
    module = made("Qwen2").to(dtype)
    reader = written(subject_of(module), tmp_path)
    kinds = {tensor.tensor_type.name for tensor in reader.tensors if len(tensor.shape) > 1}
    assert kinds == {"F16" if dtype is torch.float16 else "BF16"}
    stored = by_transformers(tmp_path)
    assert all(torch.equal(stored[name], own.float()) for name, own in module.state_dict().items())


def quantised(module: Any, bits: int, group: int, symmetric: bool) -> Any:
    """All linear layers, the head too."""
    module = copy.deepcopy(module)
    for name, layer in list(module.named_modules()):
        if isinstance(layer, torch.nn.Linear):
            parent, _, leaf = name.rpartition(".")
            codes = nearest(layer.weight.data, bits, min(group, layer.in_features), symmetric)
            setattr(module.get_submodule(parent), leaf, QuantizedLinear.of(codes, layer.bias))
    return module


def half(values: torch.Tensor) -> torch.Tensor:
    return values.half().float()


def as_stored(layer: QuantizedLinear) -> torch.Tensor:
    """The layer's codes with 16-bit scales and offsets."""
    codes = layer.codes()
    scale, offset = half(codes.scale_OG), -codes.scale_OG * (1 << codes.bits - 1)
    if codes.zero_OG is None:
        offset = -half(codes.scale_OG) * (1 << codes.bits - 1)
    else:
        offset = half(-codes.scale_OG * codes.zero_OG.float())
    spread = [one.repeat_interleave(codes.group, dim=1) for one in (scale, offset)]
    return codes.codes_OI.float() * spread[0] + spread[1]


@pytest.mark.parametrize(
    ("bits", "group", "symmetric", "format_"),
    [
        (8, 32, True, "Q8_0"), (8, 1000, True, "Q8_0"), (4, 32, True, "Q4_0"), (3, 32, True, "Q4_0"),
        (4, 32, False, "Q4_1"), (2, 32, False, "Q4_1"), (4, 1000, True, "Q4_0"), (4, 1000, False, "Q4_1"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["Llama", "Qwen2"])
def test_few_bit_layers_keep_their_codes(kind, bits, group, symmetric, format_, tmp_path):
    module = quantised(made(kind), bits, group, symmetric)
    reader = written(subject_of(module, numerics=Numerics(f"int{bits}-weight-only")), tmp_path)
    formats = {t.name: t.tensor_type.name for t in reader.tensors if len(t.shape) > 1}
    assert formats.pop("token_embd.weight") == "F32" and set(formats.values()) == {format_}
    stored = by_transformers(tmp_path)
    for name, layer in module.named_modules():
        if isinstance(layer, QuantizedLinear):
            assert torch.equal(stored[f"{name}.weight"], as_stored(layer)), name
    assert torch.equal(stored["model.embed_tokens.weight"], module.model.embed_tokens.weight)


def test_scales_that_sixteen_bits_cannot_hold_are_refused(tmp_path):
    module = quantised(made("Llama"), 4, 32, True)
    module.lm_head.weight_scale *= 1e9
    with pytest.raises(ModelError, match="float16") as caught:
        write_gguf(subject_of(module), tmp_path / "model.gguf")
    assert "lm_head" in caught.value.got


def rotary(kind: str) -> dict[str, Any]:
    return {"rope_type": kind, "factor": 4.0, "rope_theta": 1e4}


def cut(module: Any) -> Any:
    """A layer narrower than its config says."""
    layer = module.model.layers[1].mlp
    layer.gate_proj = torch.nn.Linear(64, 80, bias=False)
    return module


def shorter(module: Any) -> Any:
    del module.model.layers[1]
    return module


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (gpt2, "GPT2LMHeadModel"),
        (lambda: made("Mistral", sliding_window=6), "sliding window (6 tokens)"),
        (lambda: made("Llama", hidden_act="gelu"), "activation gelu"),
        (lambda: made("Llama", rope_parameters=rotary("dynamic")), "kind dynamic"),
        (lambda: made("Qwen2", rope_parameters=rotary("linear")), "kind linear"),
        (lambda: made("Qwen3", attention_bias=True), "o_proj.bias"),
        (lambda: cut(made("Llama")), "mlp.gate_proj.weight of shape (80, 64)"),
        (lambda: shorter(made("Llama")), "2 layers whose 1"),
        (lambda: quantised(made("Llama"), 4, 16, True), "groups of 16"),
        (lambda: quantised(made("Llama"), 8, 32, False), "no zero point"),
    ],
)  # fmt: skip
def test_what_gguf_has_no_place_for_is_refused_with_the_reason(make, word):
    support = describable(subject_of(make()))
    assert not support and word in support.reason.en and support.reason.zh


@pytest.mark.parametrize("kind", ["linear", "llama3"])
def test_stretched_rotary_frequencies_are_stored_as_divisors(kind, tmp_path):
    stretched = rotary(kind)
    if kind == "llama3":
        stretched |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
    reader = written(subject_of(made("Llama", rope_parameters=stretched)), tmp_path)
    (factors,) = (tensor.data for tensor in reader.tensors if tensor.name == "rope_freqs.weight")
    waves = 2 * np.pi * 1e4 ** (np.arange(8) / 8)  # tokens in a turn
    if kind == "linear":
        assert np.allclose(factors, 4)
    else:
        assert np.allclose(factors[waves < 64 / 4], 1) and np.allclose(factors[waves > 64], 4)
        between = factors[(waves > 64 / 4) & (waves < 64)]
        assert len(between) and ((between > 1) & (between < 4)).all()


def byte_level(steps: list[Any]) -> Any:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(steps)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=290, initial_alphabet=alphabet, special_tokens=["<|end|>"])
    core.train_from_iterator(tiny_texts(50), trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>")


def metadata(reader: Any, name: str) -> Any:
    field = reader.get_field(f"tokenizer.ggml.{name}")
    return None if field is None else field.contents()


_GPT2 = [pre_tokenizers.ByteLevel(add_prefix_space=False)]
_SMOLLM = [pre_tokenizers.Digits(individual_digits=True), *_GPT2]


def split(pattern: str) -> list[Any]:
    bytes_alone = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return [pre_tokenizers.Split(Regex(pattern), "isolated"), bytes_alone]


_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


@pytest.mark.parametrize(
    ("steps", "words"),
    [(_GPT2, "gpt-2"), (_SMOLLM, "smollm"), (split(_QWEN2), "qwen2"), (split(r"\s"), None)],
)
def test_tokenizers_are_written_where_llama_cpp_splits_words_the_same_way(steps, words, tmp_path):
    tokenizer = byte_level(steps)
    module = made("Llama", vocab_size=300)  # more embeddings than tokens
    reader = written(subject_of(module, processor=tokenizer), tmp_path)
    assert metadata(reader, "pre") == words
    assert metadata(reader, "model") == ("none" if words is None else "gpt2")
    if words is None:
        return
    names = metadata(reader, "tokens")
    stored = json.loads(tokenizer.backend_tokenizer.to_str())
    assert names[: len(tokenizer)] == tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    assert len(names) == 300 and metadata(reader, "eos_token_id") == tokenizer.eos_token_id
    assert metadata(reader, "merges") == [" ".join(merge) for merge in stored["model"]["merges"]]


def test_transformers_reads_the_tokenizer_back(tmp_path):
    tokenizer = byte_level(_GPT2)
    written(subject_of(made("Llama", vocab_size=len(tokenizer)), processor=tokenizer), tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file="model.gguf")
    for text in [*tiny_texts(10), "It's 1923 — naïve 北京\n\n  twice"]:
        assert theirs(text)["input_ids"] == tokenizer(text)["input_ids"], text
