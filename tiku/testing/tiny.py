"""Models and data made on the spot: real architectures with random weights, built in milliseconds."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tiku.core.data import Splits
from tiku.core.method import Context
from tiku.core.protocol import protocol_for
from tiku.core.subject import Subject

__all__ = ["tiny_classifier", "tiny_context", "tiny_language_model", "tiny_texts"]

_WORDS = (
    "the", "a", "film", "plot", "cast", "music", "scene", "it", "was", "not", "and", "very", "good", "bad",
    "dull", "warm", "great", "awful", "slow", "moving",
)  # fmt: skip
_LENGTH_LIMIT = 48


def tiny_texts(count: int, seed: int = 0) -> list[str]:
    """Texts of 1 to 40 known words, of very different lengths."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(_WORDS, k=draw.choice((1, 3, 7, 12, 40)))) for _ in range(count)]


def tiny_classifier(seed: int = 0, labels: tuple[str, ...] = ("bad", "good")) -> Subject:
    """Two-layer BERT, 32 wide, random weights from `seed`, with a word tokenizer."""
    from transformers import BertConfig, BertForSequenceClassification

    tokenizer = _tokenizer("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=_LENGTH_LIMIT, pad_token_id=tokenizer.pad_token_id,
        id2label=dict(enumerate(labels)), label2id={name: i for i, name in enumerate(labels)},
    )  # fmt: skip
    module = _seeded(BertForSequenceClassification, config, seed)
    return Subject("text-classification", "text-classification", module, tokenizer, labels=labels)


def tiny_language_model(seed: int = 0) -> Subject:
    """Two-layer Llama, 32 wide, random weights from `seed`, with a word tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _tokenizer("$A", "$A $B")
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, intermediate_size=64, max_position_embeddings=_LENGTH_LIMIT,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return Subject("causal-lm", "causal-lm", _seeded(LlamaForCausalLM, config, seed), tokenizer)


def tiny_context(workdir: Path, *, count: int = 48, seed: int = 0, threads: int = 1) -> Context:
    """A quick protocol and splits of labelled texts whose label is whether they hold the word "good"."""
    import numpy as np

    from tiku.data.labelled_texts import LabelledTexts

    def part(number: int) -> LabelledTexts:
        texts = tiny_texts(count, seed=10 * seed + number)
        labels = np.asarray(["good" in text.split() for text in texts], dtype=np.int64)
        labels[:2] = (0, 1)  # both classes are always there
        return LabelledTexts("tiny", tuple(texts), labels, ("bad", "good"))

    splits = Splits("tiny", part(0), part(1), part(2), part(3), seed=seed)
    return Context((splits,), protocol_for("quick", seed=seed, threads=threads), workdir)


def _tokenizer(single: str, pair: str) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *_WORDS)
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        eos_token="[SEP]", model_max_length=_LENGTH_LIMIT,
    )  # fmt: skip


def _seeded(kind: Any, config: Any, seed: int) -> Any:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = kind(config).eval()
        for weights in _matrices(module):
            weights.mul_(4)  # at their usual scale random weights answer every text nearly alike
    return module


def _matrices(module: Any) -> Iterator[Any]:
    return (p.data for name, p in module.named_parameters() if p.ndim == 2 and "embed" not in name.lower())
