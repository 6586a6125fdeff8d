"""A tokenizer.json with fewer tokens: which must stay, and the file rewritten for those that do.

A `spec` is the parsed tokenizer.json. Ids are renumbered in their old order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

__all__ = ["REBUILDABLE", "closure", "obstacle", "rewritten"]

REBUILDABLE = ("WordPiece", "BPE", "Unigram")


def obstacle(spec: Mapping[str, Any]) -> tuple[str, str] | None:
    """Why this tokenizer cannot lose tokens without losing texts, in English and Chinese; None: it can."""
    model = spec["model"]
    if model["type"] not in REBUILDABLE:
        return (
            f"its tokenizer is of the kind {model['type']}, which has no smaller pieces to spell "
            "other words with: a text with a token that was cut could no longer be read",
            f"其分词器类型为 {model['type']}，没有更小的单元可以拼出其他词：含有被裁词元的文本将无法再读入",
        )
    if model["type"] == "BPE" and model.get("continuing_subword_prefix"):
        return (
            "its BPE marks continued pieces with a prefix, so merged tokens are not their parts joined",
            "其 BPE 用前缀标记后续片段，合并后的词元不等于各部分的拼接",
        )
    return None


def closure(spec: Mapping[str, Any], used: Iterable[int]) -> list[int]:
    """The ids that stay, ascending: those used, what they are made from, every added token, and the
    smallest pieces, so that any other text is still spelled out.

    Texts whose tokens are in `used` are split as before. WordPiece takes the longest match, and no
    longer one appears; BPE applies its merges by rank, and each merge that was applied inside a kept
    token stays; Unigram seeks the best path, and the best one of all is still there.
    """
    model, kept = spec["model"], set(used)
    kept |= {token["id"] for token in spec["added_tokens"]}
    if model["type"] == "Unigram":
        return sorted(kept | _unigram_base(model))
    vocab: Mapping[str, int] = model["vocab"]
    if model.get("unk_token") in vocab:
        kept.add(vocab[model["unk_token"]])
    if model["type"] == "WordPiece":
        return sorted(kept | _word_piece_base(model))
    kept |= _bpe_base(model)
    return sorted(kept | _bpe_parts(model, kept))


def rewritten(spec: Mapping[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """The tokenizer.json whose token `kept[i]` has the id i."""
    new = {old: i for i, old in enumerate(kept)}
    model = dict(spec["model"])
    if model["type"] == "Unigram":
        model["vocab"] = [entry for i, entry in enumerate(model["vocab"]) if i in new]
        model["unk_id"] = None if model.get("unk_id") is None else new[model["unk_id"]]
    else:
        model["vocab"] = {token: new[i] for token, i in model["vocab"].items() if i in new}
    if model["type"] == "BPE":
        model["merges"] = [m for m in model["merges"] if _stays(m, model["vocab"])]
    return {
        **spec,
        "model": model,
        "added_tokens": [{**token, "id": new[token["id"]]} for token in spec["added_tokens"]],
        "post_processor": _renumbered(spec.get("post_processor"), new),
        "truncation": None,
        "padding": None,
    }


def _unigram_base(model: Mapping[str, Any]) -> set[int]:
    """Single characters, bytes, the unknown token, and the worst score: unknown text is scored by it."""
    pieces = model["vocab"]
    base = {i for i, (piece, _) in enumerate(pieces) if len(piece) == 1 or _is_byte(piece)}
    base.add(min(range(len(pieces)), key=lambda i: pieces[i][1]))
    return base if model.get("unk_id") is None else base | {model["unk_id"]}


def _word_piece_base(model: Mapping[str, Any]) -> set[int]:
    """Single characters at the start and inside of words, and the tokens that these cannot spell."""
    vocab, prefix = model["vocab"], model["continuing_subword_prefix"]

    def pieces(token: str) -> list[str]:
        inside = token.startswith(prefix) and len(token) > len(prefix)
        text = token[len(prefix) :] if inside else token
        return [
            character if i == 0 and not inside else prefix + character for i, character in enumerate(text)
        ]

    spelled = {token: pieces(token) for token in vocab}
    return {
        i
        for token, i in vocab.items()
        if len(spelled[token]) == 1 or any(piece not in vocab for piece in spelled[token])
    }


def _bpe_base(model: Mapping[str, Any]) -> set[int]:
    suffix = model.get("end_of_word_suffix") or ""
    return {
        i
        for token, i in model["vocab"].items()
        if len(token) == 1 or _is_byte(token) or (suffix and len(token.removesuffix(suffix)) == 1)
    }


def _bpe_parts(model: Mapping[str, Any], kept: Iterable[int]) -> set[int]:
    """Every token that appears while the merges put the kept tokens together."""
    vocab, suffix = model["vocab"], model.get("end_of_word_suffix") or ""
    tokens = {i: token for token, i in vocab.items()}
    ranks = {_pair(merge): rank for rank, merge in enumerate(model["merges"])}
    parts: set[int] = set()
    for i in kept:
        if i in tokens:
            parts |= {vocab[part] for part in _merged(_symbols(tokens[i], suffix), ranks) if part in vocab}
    return parts


def _symbols(token: str, suffix: str) -> list[str]:
    if suffix and token.endswith(suffix) and len(token) > len(suffix):
        body = token.removesuffix(suffix)
        return [*body[:-1], body[-1] + suffix]
    return list(token)


def _merged(symbols: list[str], ranks: Mapping[tuple[str, str], int]) -> set[str]:
    """The symbols and all that the merges make of them, the lowest rank first, from the left."""
    seen = set(symbols)
    while len(symbols) > 1:
        pairs = list(pairwise(symbols))
        at = min(range(len(pairs)), key=lambda i: ranks.get(pairs[i], len(ranks)))
        if pairs[at] not in ranks:
            break
        symbols = [*symbols[:at], "".join(pairs[at]), *symbols[at + 2 :]]
        seen.add(symbols[at])
    return seen


def _stays(merge: Any, vocab: Mapping[str, int]) -> bool:
    left, right = _pair(merge)
    return left in vocab and right in vocab and left + right in vocab


def _pair(merge: Any) -> tuple[str, str]:
    left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
    return left, right


def _is_byte(token: str) -> bool:
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def _renumbered(processor: Any, new: Mapping[int, int]) -> Any:
    """The post-processor with the new ids of the special tokens it puts around a text."""
    if not isinstance(processor, Mapping):
        return processor
    changed = dict(processor)
    if "processors" in changed:
        changed["processors"] = [_renumbered(one, new) for one in changed["processors"]]
    for name in ("sep", "cls"):
        if isinstance(changed.get(name), list):
            token, old = changed[name]
            changed[name] = [token, new[old]]
    if isinstance(changed.get("special_tokens"), Mapping):
        changed["special_tokens"] = {
            name: {**entry, "ids": [new[i] for i in entry["ids"]]}
            for name, entry in changed["special_tokens"].items()
        }
    return changed
