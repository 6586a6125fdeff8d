"""Tiny random models of many architectures, written as transformers folders in milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

WORDS = (
    "the", "a", "film", "plot", "cast", "music", "scene", "it", "was", "not", "and", "very", "good", "bad",
    "dull", "warm", "great", "awful", "slow", "moving",
)  # fmt: skip
LIMIT = 48  # tokens

_ENCODER = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "max_position_embeddings": 64,
}  # fmt: skip
_DECODER = {**_ENCODER, "num_key_value_heads": 2}
_BOTH = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 64,
}  # fmt: skip
_T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
_GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}

ENCODERS: dict[str, dict[str, Any]] = {
    "bert": _ENCODER,
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 64},
    "roberta": {**_ENCODER, "max_position_embeddings": 66, "type_vocab_size": 1},
    "xlm-roberta": {**_ENCODER, "max_position_embeddings": 66, "type_vocab_size": 1},
    "albert": {**_ENCODER, "embedding_size": 16},
    "electra": {**_ENCODER, "embedding_size": 16},
    "deberta-v2": {
        **_ENCODER, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 8,
        "norm_rel_ebd": "layer_norm", "share_att_key": True, "position_biased_input": False,
        "type_vocab_size": 0,
    },
    "mpnet": {**_ENCODER, "max_position_embeddings": 66},
    "modernbert": {**_ENCODER, "global_attn_every_n_layers": 2, "local_attention": 8},
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48},
    "ibert": {**_ENCODER, "type_vocab_size": 1},
}  # fmt: skip
ENCODER_DECODERS: dict[str, dict[str, Any]] = {"bart": {**_BOTH, "decoder_start_token_id": 3}, "t5": _T5}
DECODERS: dict[str, dict[str, Any]] = {
    "gpt2": _GPT,
    "llama": _DECODER,
    "mistral": {**_DECODER, "sliding_window": 8},
    "qwen2": _DECODER,
    "qwen3": {**_DECODER, "head_dim": 8},
    "gemma": {**_DECODER, "head_dim": 8},
    "gemma2": {**_DECODER, "head_dim": 8, "sliding_window": 8},
    "phi": _ENCODER,
    "opt": {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 48,
        "word_embed_proj_dim": 32, "max_position_embeddings": 64,
    },
    "gpt_neox": _ENCODER,
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
}  # fmt: skip
RECURRENT: dict[str, dict[str, Any]] = {
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
    "rwkv": {"hidden_size": 32, "num_hidden_layers": 2, "attention_hidden_size": 32, "context_length": 64},
    "jamba": {
        **_DECODER, "num_hidden_layers": 4, "attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 2,
        "mamba_d_state": 4, "use_mamba_kernels": False,
    },
}  # fmt: skip
ALL = {**ENCODERS, **ENCODER_DECODERS, **DECODERS, **RECURRENT}


def tokenizer(*, pad: bool = True, limit: int = LIMIT, frame: bool = True) -> Any:
    """Words to ids; `frame` puts [CLS] and [SEP] around texts and between those of a pair."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS)
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    single, pair = ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1") if frame else ("$A", "$A $B")
    core.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", eos_token="[SEP]",
        model_max_length=limit, **({"pad_token": "[PAD]"} if pad else {}),
    )  # fmt: skip


def config(kind: str, **more: Any) -> Any:
    """A tiny config of an architecture, fitting `tokenizer`."""
    from transformers import CONFIG_MAPPING

    common = {"vocab_size": 4 + len(WORDS), "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    return CONFIG_MAPPING[kind](**{**common, **ALL[kind], **more})


def module(auto: str, kind: str, seed: int = 0, **more: Any) -> Any:
    """A random module whose answers differ from text to text."""
    import torch
    import transformers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = getattr(transformers, auto).from_config(config(kind, **more)).eval()
        for name, weights in made.named_parameters():
            if weights.ndim == 2 and "embed" not in name.lower():
                weights.data.mul_(4)
    return made


def write_classifier(folder: Path, kind: str, labels: tuple[str, ...] = ("a", "b", "c"), **more: Any) -> Path:
    """A folder with a classifier whose rows speak these labels."""
    names = {"id2label": dict(enumerate(labels)), "label2id": {name: i for i, name in enumerate(labels)}}
    module("AutoModelForSequenceClassification", kind, **names, **more).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def write_body(folder: Path, kind: str) -> Path:
    """A folder with the network of a classifier and no head."""
    module("AutoModelForSequenceClassification", kind).base_model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def write_language_model(folder: Path, kind: str, *, pad: bool = True, **more: Any) -> Path:
    """A folder with a decoder and its head."""
    module("AutoModelForCausalLM", kind, bos_token_id=None, **more).save_pretrained(folder)
    tokenizer(pad=pad, frame=False).save_pretrained(folder)
    return folder


def texts(count: int, seed: int = 0) -> list[str]:
    """Texts of 1 to 40 known words."""
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, size=draw.choice([1, 3, 7, 12, 40]))) for _ in range(count)]


def logits(family: Any, subject: Any, inputs: list[Any]) -> np.ndarray:
    """What the subject's module answers to one padded batch."""
    import torch

    batch = family.collate(subject.processor, family.encode(subject.processor, inputs, None))
    with torch.inference_mode():
        return subject.module(**{name: torch.from_numpy(a) for name, a in batch.items()}).logits.numpy()
