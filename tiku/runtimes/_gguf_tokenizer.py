"""A tokenizer in GGUF's metadata, for programs that are given text. tiku itself gives llama.cpp token ids.

Byte-level BPE is written where llama.cpp splits words the same way; any other tokenizer is left out ("none"),
rather than written as one that would cut texts differently.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gguf import GGUFWriter

__all__ = ["write_tokenizer"]

_LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPLITS = {_LETTERS + r"\p{N}{1,3}" + _REST: "llama-bpe", _LETTERS + r"\p{N}" + _REST: "qwen2"}
_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5


def write_tokenizer(writer: GGUFWriter, tokenizer: Any, vocabulary: int) -> None:
    """Add the tokenizer of a model with `vocabulary` embeddings."""
    stored = _stored(tokenizer)
    words = _word_splitting(stored)
    if words is None or len(tokenizer) > vocabulary:
        writer.add_tokenizer_model("none")
        return
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(words)
    names, kinds = _tokens(stored, vocabulary)
    writer.add_token_list(names)
    writer.add_token_types(kinds)
    merges = stored["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    _write_special(writer, tokenizer)


def _stored(tokenizer: Any) -> dict[str, Any]:
    """`tokenizer.json` as a mapping; empty for tokenizers that have none."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    stored: dict[str, Any] = {} if backend is None else json.loads(backend.to_str())
    return stored


def _word_splitting(stored: dict[str, Any]) -> str | None:
    """llama.cpp's name for how words are split before merging; None where it has none."""
    model, steps = stored.get("model") or {}, _steps(stored.get("pre_tokenizer"))
    plain = all(
        not model.get(key) for key in ("byte_fallback", "continuing_subword_prefix", "end_of_word_suffix")
    )
    if model.get("type") != "BPE" or not plain or not steps or steps[-1].get("type") != "ByteLevel":
        return None
    *before, last = steps
    if last.get("add_prefix_space"):
        return None
    words = _named(before, own=bool(last.get("use_regex", True)))
    normal = (stored.get("normalizer") or {}).get("type") in ((None, "NFC") if words == "qwen2" else (None,))
    whole_words = bool(model.get("ignore_merges"))  # llama.cpp does so for llama-bpe alone
    return words if normal and whole_words == (words == "llama-bpe") else None


def _named(before: list[dict[str, Any]], *, own: bool) -> str | None:
    """`own`: the byte-level step splits as GPT-2 does after the steps `before` it."""
    if own:
        digits = [step for step in before if step.get("type") == "Digits" and step.get("individual_digits")]
        return "gpt-2" if not before else "smollm" if len(digits) == len(before) == 1 else None
    if len(before) != 1 or before[0].get("type") != "Split" or before[0].get("invert"):
        return None
    return _SPLITS.get((before[0].get("pattern") or {}).get("Regex", ""))


def _steps(pre_tokenizer: dict[str, Any] | None) -> list[dict[str, Any]]:
    if pre_tokenizer is None:
        return []
    steps: list[dict[str, Any]] = pre_tokenizer.get("pretokenizers") or [pre_tokenizer]
    return steps


def _tokens(stored: dict[str, Any], vocabulary: int) -> tuple[list[str], list[int]]:
    """Names and kinds by id; embeddings that no token names are unused."""
    names = [f"[PAD{number}]" for number in range(vocabulary)]
    kinds = [_UNUSED] * vocabulary
    for name, number in stored["model"]["vocab"].items():
        names[number], kinds[number] = name, _NORMAL
    for token in stored.get("added_tokens") or []:
        names[token["id"]] = token["content"]
        kinds[token["id"]] = _CONTROL if token["special"] else _USER_DEFINED
    return names, kinds


def _write_special(writer: GGUFWriter, tokenizer: Any) -> None:
    ids = {
        "bos_token_id": writer.add_bos_token_id,
        "eos_token_id": writer.add_eos_token_id,
        "unk_token_id": writer.add_unk_token_id,
        "pad_token_id": writer.add_pad_token_id,
    }
    for name, write in ids.items():
        number = getattr(tokenizer, name, None)
        if number is not None:
            write(int(number))
    framed = tokenizer("a")["input_ids"]
    writer.add_add_bos_token(tokenizer.bos_token_id is not None and framed[0] == tokenizer.bos_token_id)
    writer.add_add_eos_token(tokenizer.eos_token_id is not None and framed[-1] == tokenizer.eos_token_id)
    if isinstance(getattr(tokenizer, "chat_template", None), str):
        writer.add_chat_template(tokenizer.chat_template)
