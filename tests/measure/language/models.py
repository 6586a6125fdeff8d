"""Tiny random language models made on the spot, and the plain loop that every fast way is held to."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import transformers

from tiku.measure.language.requests import Request
from tiku.runtimes._torch_session import TorchSession

VOCABULARY = 61


def llama(seed: int = 0, vocab: int = VOCABULARY) -> Any:
    config = transformers.LlamaConfig(
        vocab_size=vocab, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=48, max_position_embeddings=256,
    )  # fmt: skip
    return sharpened(transformers.LlamaForCausalLM, config, seed)


def gpt2(seed: int = 0) -> Any:
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=256, bos_token_id=1, eos_token_id=1
    )
    return sharpened(transformers.GPT2LMHeadModel, config, seed)


def mistral(window: int, seed: int = 0) -> Any:
    """Each token sees `window` tokens back."""
    config = transformers.MistralConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=48, max_position_embeddings=256, sliding_window=window,
    )  # fmt: skip
    return sharpened(transformers.MistralForCausalLM, config, seed)


def sharpened(kind: Any, config: Any, seed: int) -> Any:
    """Random weights, scaled up so that the answer depends strongly on every token before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = kind(config).eval()
    for parameter in module.parameters():
        if parameter.ndim == 2:
            parameter.data.mul_(4)
    return module


def session(module: Any) -> TorchSession:
    return TorchSession("torch", module, threads=1, device="cpu")


def plain_loop(module: Any, requests: Sequence[Request]) -> tuple[np.ndarray, np.ndarray]:
    """Sum of log-probabilities and greediness, one request at a time, no cache, no padding, no packing."""
    values, greedy = [], []
    for request in requests:
        ids = torch.tensor([list(request.context + request.continuation)])
        with torch.inference_mode():
            logits = module(input_ids=ids, use_cache=False).logits[0].double()
        at = range(len(request.context), ids.shape[1])
        table = torch.log_softmax(logits, dim=-1)
        values.append(sum(float(table[i - 1, ids[0, i]]) for i in at))
        greedy.append(all(int(logits[i - 1].argmax()) == int(ids[0, i]) for i in at))
    return np.array(values), np.array(greedy)


def families_of_requests(seed: int, prefix: int, contexts: int = 6, options: int = 3) -> list[Request]:
    """Like few-shot questions: one beginning, several contexts, several answers to each."""
    draw = random.Random(seed)

    def tokens(least: int, most: int) -> tuple[int, ...]:
        return tuple(draw.randrange(VOCABULARY) for _ in range(draw.randint(least, most)))

    beginning = tokens(prefix, prefix)
    found = []
    for _ in range(contexts):
        context = beginning + tokens(2, 20)
        found += [Request(context, tokens(1, 5)) for _ in range(options)]
    draw.shuffle(found)
    return found


MAKERS: dict[str, Callable[[], Any]] = {"llama": llama, "gpt2": gpt2}
