"""Tiny subjects for the pruning tests: random weights, and tokenizers trained on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
import transformers
from tokenizers import decoders, pre_tokenizers, processors, trainers
from tokenizers import models as kinds

from tiku.core.data import Splits
from tiku.core.method import Context
from tiku.core.protocol import protocol_for
from tiku.core.subject import Subject
from tiku.data.labelled_texts import LabelledTexts

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]
CORPUS = [
    "the weather turned warm and the river was low",
    "lower rivers, warmer weathers; the lowest river warms quickest",
    "nobody reads the newest newspapers any longer",
    "unreadable newspapers were rereading readers' letters",
    "a lettered reader writes longer letters than the writers of news",
]


def word_piece() -> Any:
    core = tokenizers.Tokenizer(kinds.WordPiece(unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    core.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=150, special_tokens=SPECIAL))
    return _framed(core)


def byte_bpe() -> Any:
    core = tokenizers.Tokenizer(kinds.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=380, special_tokens=SPECIAL, initial_alphabet=alphabet)
    core.train_from_iterator(CORPUS, trainer)
    return _framed(core)


def suffix_bpe() -> Any:
    """Merges with a mark at the end of words, as CLIP and GPT-1 have them."""
    core = tokenizers.Tokenizer(kinds.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.BPEDecoder(suffix="</w>")
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=SPECIAL, end_of_word_suffix="</w>")
    core.train_from_iterator(CORPUS, trainer)
    return _framed(core)


def unigram() -> Any:
    core = tokenizers.Tokenizer(kinds.Unigram())
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=SPECIAL, unk_token="<unk>")
    core.train_from_iterator(CORPUS, trainer)
    return _framed(core)


def classifier(tokenizer: Any, *, layers: int = 2, seed: int = 0, **sizes: int) -> Subject:
    """A BERT classifier over the tokenizer's vocabulary."""
    fields = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64, **sizes}
    config = transformers.BertConfig(
        vocab_size=len(tokenizer), num_hidden_layers=layers, max_position_embeddings=64,
        pad_token_id=tokenizer.pad_token_id, id2label={0: "bad", 1: "good"},
        label2id={"bad": 0, "good": 1}, **fields,
    )  # fmt: skip
    module = _drawn(transformers.BertForSequenceClassification, config, seed)
    return Subject("text-classification", "text-classification", module, tokenizer, labels=("bad", "good"))


def language_model(
    tokenizer: Any, kind: str = "Llama", *, layers: int = 2, tied: bool = True, seed: int = 0, **sizes: Any
) -> Subject:
    """A decoder with grouped queries (six heads, three groups) over the tokenizer's vocabulary."""
    fields = {
        "hidden_size": 48, "num_attention_heads": 6, "num_key_value_heads": 3,
        "intermediate_size": 64, **sizes,
    }  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(tokenizer), num_hidden_layers=layers, max_position_embeddings=64,
        tie_word_embeddings=tied, pad_token_id=tokenizer.pad_token_id, bos_token_id=1,
        eos_token_id=tokenizer.eos_token_id, **fields,
    )  # fmt: skip
    module = _drawn(getattr(transformers, f"{kind}ForCausalLM"), config, seed)
    return Subject("causal-lm", "causal-lm", module, tokenizer)


def context_of(texts: list[str], workdir: Path, *, seed: int = 0, empty: bool = False) -> Context:
    """The texts as train, calibration and validation; the labels alternate."""
    labels = np.arange(len(texts), dtype=np.int64) % 2
    part = LabelledTexts("texts", tuple(texts), labels, ("bad", "good"))
    part = part.take([]) if empty else part
    splits = Splits("texts", part, part, part, part.take([]), seed=seed)
    return Context((splits,), protocol_for("quick", seed=seed, threads=1, device="cpu"), workdir)


def logits(subject: Subject, text: str) -> torch.Tensor:
    """What the module answers to one text."""
    encoded = subject.processor(text, return_tensors="pt")
    with torch.inference_mode():
        answer: torch.Tensor = subject.module(**encoded).logits
    return answer


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _framed(core: Any) -> Any:
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1",
        special_tokens=[(token, core.token_to_id(token)) for token in ("<s>", "</s>")],
    )  # fmt: skip
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        cls_token="<s>", sep_token="</s>", model_max_length=64,
    )  # fmt: skip


def _drawn(kind: Any, config: Any, seed: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = kind(config).eval()
        for parameter in module.parameters():  # at their usual scale random weights answer all texts alike
            parameter.data.add_(torch.randn_like(parameter) * 0.1)
    return module
