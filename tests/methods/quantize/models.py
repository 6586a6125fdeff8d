"""Small models in which the methods must find the right layers, made on the spot."""

from __future__ import annotations

from typing import Any

import torch
import transformers

from tiku.core.subject import Subject
from tiku.testing import tiny_language_model


def seeded(kind: Any, config: Any, seed: int = 0) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(config).eval()


def subject_of(module: Any, task: str = "causal-lm", labels: tuple[str, ...] = ()) -> Subject:
    """With the word tokenizer of the tiny models."""
    return Subject(task, task, module, tiny_language_model().processor, labels=labels)


def gpt2(seed: int = 0) -> Any:
    config = transformers.GPT2Config(
        vocab_size=24, n_embd=32, n_layer=2, n_head=2, n_positions=48, bos_token_id=1, eos_token_id=1
    )
    return seeded(transformers.GPT2LMHeadModel, config, seed)


def tied_llama(seed: int = 0, kv_heads: int = 1) -> Any:
    config = transformers.LlamaConfig(
        vocab_size=24, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=kv_heads, intermediate_size=64, max_position_embeddings=48,
        tie_word_embeddings=True, bos_token_id=None, eos_token_id=3, pad_token_id=0,
    )  # fmt: skip
    return seeded(transformers.LlamaForCausalLM, config, seed)


def mixtral(seed: int = 0) -> Any:
    config = transformers.MixtralConfig(
        vocab_size=24, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=64, num_local_experts=4, num_experts_per_tok=2, max_position_embeddings=48,
    )  # fmt: skip
    return seeded(transformers.MixtralForCausalLM, config, seed)


def logits(module: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return module(input_ids=ids).logits
