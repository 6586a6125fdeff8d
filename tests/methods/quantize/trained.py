"""A language model of 128 channels that has learnt a made-up language, and what it loses on new texts.

The language: each word is followed by one of a few words of its own, some far likelier than others.
"""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
import transformers
from numpy.typing import NDArray
from tokenizers import models, pre_tokenizers

from tiku.core.data import Splits
from tiku.core.method import Context
from tiku.core.protocol import protocol_for
from tiku.core.subject import Subject
from tiku.data.labelled_texts import LabelledTexts
from tiku.layers.quantized_linear import QuantizedLinear
from tiku.training.driving import sealed

_WORDS = tuple(f"w{i}" for i in range(92))
_TOKENS = ("[PAD]", "[UNK]", "[BOS]", "[EOS]", *_WORDS)
_FOLLOWERS, _LENGTH = 6, 40


def texts(count: int, seed: int) -> list[str]:
    """Texts of 40 words; the words that may follow two others are fixed."""
    draw = random.Random(seed)
    return [" ".join(_walk(draw)) for _ in range(count)]


def _walk(draw: random.Random) -> list[str]:
    words = draw.choices(range(len(_WORDS)), k=2)
    while len(words) < _LENGTH:
        own = random.Random(1000 * words[-1] + words[-2] % 7)
        words.append(
            draw.choices(own.sample(range(len(_WORDS)), _FOLLOWERS), weights=(24, 12, 6, 3, 2, 1))[0]
        )
    return [_WORDS[i] for i in words]


def trained(seed: int = 0, steps: int = 130) -> Subject:
    """A two-layer Llama, 128 wide, after some seconds of training."""
    core = tokenizers.Tokenizer(models.WordLevel({w: i for i, w in enumerate(_TOKENS)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", eos_token="[EOS]", model_max_length=64
    )
    config = transformers.LlamaConfig(
        vocab_size=len(_TOKENS), hidden_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=256, max_position_embeddings=64, pad_token_id=0,
        bos_token_id=None, eos_token_id=3,
    )  # fmt: skip
    with sealed("cpu", 1):
        torch.manual_seed(seed)
        module = transformers.LlamaForCausalLM(config)
        _learn(module, torch.tensor(tokenizer(texts(2000, seed))["input_ids"]), steps)
    return Subject("causal-lm", "causal-lm", module.eval(), tokenizer)


def context(workdir: Path) -> Context:
    """Calibration texts that are none of the others."""

    def part(seed: int) -> LabelledTexts:
        found = tuple(texts(160, seed))
        return LabelledTexts("made up", found, np.arange(len(found), dtype=np.int64) % 2, ("a", "b"))

    splits = Splits("made up", part(5001), part(5002), part(5003), part(5004).take([]), seed=0)
    return Context((splits,), protocol_for("quick", seed=0, threads=1, device="cpu"), workdir)


def losses(subject: Subject, judged: list[str]) -> NDArray[np.float64]:
    """Nats per token of each text."""
    ids = torch.tensor(subject.processor(judged)["input_ids"])
    with torch.inference_mode():
        logits = subject.module(input_ids=ids).logits[:, :-1].double()
    away = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    return away.mean(1).numpy()


def with_large_channels(subject: Subject) -> Subject:
    """The same answers, from a model in which every 16th channel behind a norm is ten times as large."""
    module = copy.deepcopy(subject.module)
    for layer in module.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        for norm, readers in (
            (layer.input_layernorm, (attention.q_proj, attention.k_proj, attention.v_proj)),
            (layer.post_attention_layernorm, (mlp.gate_proj, mlp.up_proj)),
        ):
            norm.weight.data[::16] *= 10
            for reader in readers:
                reader.weight.data[:, ::16] /= 10
    return replace(subject, module=module)


def divergences(subject: Subject, changed: Subject, judged: list[str]) -> NDArray[np.float64]:
    """KL(subject ‖ changed) of each text, nats per token."""
    ids = torch.tensor(subject.processor(judged)["input_ids"])
    with torch.inference_mode():
        p, q = (s.module(input_ids=ids).logits.double().log_softmax(-1) for s in (subject, changed))
    return (p.exp() * (p - q)).sum(-1).mean(1).numpy()


def layer_errors(subject: Subject, changed: Subject, judged: list[str]) -> NDArray[np.float64]:
    """Mean squared error of the outputs of each quantised layer on what reaches the whole model's layer."""
    ids = torch.tensor(subject.processor(judged)["input_ids"])
    errors = []

    def compare(other: Any) -> Any:
        return lambda _, args, output: errors.append(float((other(args[0]) - output).square().mean()))

    hooks = [
        own.register_forward_hook(compare(changed.module.get_submodule(name)))
        for name, own in subject.module.named_modules()
        if isinstance(changed.module.get_submodule(name), QuantizedLinear)
    ]
    with torch.inference_mode():
        subject.module(input_ids=ids)
    for hook in hooks:
        hook.remove()
    return np.array(errors)


def _learn(module: Any, ids: torch.Tensor, steps: int) -> None:
    optimiser = torch.optim.AdamW(module.parameters(), lr=3e-3)
    module.train()
    for step in range(steps):
        rows = ids[torch.arange(step * 16, step * 16 + 16) % len(ids)]
        module(input_ids=rows, labels=rows).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
