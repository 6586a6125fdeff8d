"""Small tokenizers with the habits that make the join of two texts hard, and text for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from tiku.data.prose import Prose

_TEXT = (
    "Question: which way does the river run when the rain is heavy\nAnswer: downhill and fast\n"
    "Question: what happens to ice in the sun\nAnswer: it melts into water\n"
) * 4


def byte_level(*, bos: bool = False, size: int = 360) -> Any:
    """BPE over bytes as GPT-2 has it: a word carries the space before it. `bos` puts <s> before texts."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    core.train_from_iterator([_TEXT], trainer)
    if bos:
        core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="</s>")


def greedy(pieces: tuple[str, ...], **special: str) -> Any:
    """BPE without any splitting: its merges run across spaces and across the join of two texts."""
    letters = sorted(
        {letter for piece in pieces for letter in piece} | set("abcdefghijklmnopqrstuvwxyz :.?\n")
    )
    vocabulary = {token: i for i, token in enumerate(["<s>", "</s>", *letters])}
    merges = []
    for piece in pieces:  # letter by letter from the left
        for end in range(2, len(piece) + 1):
            pair = (piece[: end - 1], piece[end - 1])
            if piece[:end] not in vocabulary:
                vocabulary[piece[:end]] = len(vocabulary)
                merges.append(pair)
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=core, **special)


def prose(count: int, words: int, seed: int = 0, titles: tuple[str, ...] | None = None) -> Prose:
    """Documents of `words` words each, drawn from what the tokenizers above know."""
    draw, known = np.random.default_rng(seed), _TEXT.split()
    documents = tuple(" ".join(draw.choice(known, words)) for _ in range(count))
    return Prose("made", documents, titles or tuple(f"title {i}" for i in range(count)))
