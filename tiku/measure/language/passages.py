"""The text that a perplexity is computed on: drawn documents, cut to one length, in overlapping windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiku.data.prose import Prose
from tiku.measure.language.requests import Request

__all__ = ["Passage", "Windows", "draw_passages", "tokens_of"]

_CHARACTERS_PER_TOKEN = 16  # no tokenizer needs more on text: longer documents are not read to their end
_WORD = 40  # a cut moves back at most this far to the end of a word


@dataclass(frozen=True)
class Windows:
    """How a text longer than the context is scored: by windows that hold `context` tokens and advance by
    `stride`. The first window predicts all its tokens, each later one the next `stride` after as many
    tokens before them as the context has room for. `start` are the ids before each text."""

    context: int
    stride: int
    start: tuple[int, ...]

    def over(self, tokens: Sequence[int]) -> list[Request]:
        """One request per window; together they predict each token once (without `start`, all but the
        first). The context is what is fed: the last token of a window is predicted only."""
        sequence = (*self.start, *tokens)
        scored, end = max(1, len(self.start)), min(len(sequence), self.context + 1)
        found = []
        while scored < len(sequence):
            found.append(Request(sequence[max(0, end - 1 - self.context) : scored], sequence[scored:end]))
            scored, end = end, min(len(sequence), end + self.stride)
        return found

    def unscored(self, tokens: Sequence[int]) -> Sequence[int]:
        """The tokens of a text that no window predicts."""
        return () if self.start else tokens[:1]


@dataclass(frozen=True)
class Passage:
    """The beginning of a document, or all of it. `tokens` are those of `text` alone; `scored_bytes` are
    the UTF-8 bytes of the tokens that are predicted."""

    title: str
    text: str
    tokens: tuple[int, ...]
    scored_bytes: int


def draw_passages(tokenizer: Any, prose: Prose, windows: Windows, budget: int, seed: int) -> list[Passage]:
    """About `budget` tokens from as many documents as that allows, in the data's order.

    Documents are drawn at random and each gives its first tokens, the same number from all that are
    long enough: one context, or some strides more where the documents are few. Documents without two
    tokens are left out.
    """
    drawn: dict[int, tuple[str, list[int]]] = {}
    room = budget
    for i in np.random.default_rng(seed).permutation(len(prose)).tolist():
        begun = _begin(tokenizer, prose.documents[i], windows.context * _CHARACTERS_PER_TOKEN)
        if len(begun[1]) > 1:
            drawn[i] = begun
            room -= min(len(begun[1]), windows.context)
        if room <= 0:
            break
    level = _read_on(tokenizer, prose, windows, budget, drawn)
    return [_passage(tokenizer, prose.titles[i], *drawn[i], level, windows) for i in sorted(drawn)]


def _begin(tokenizer: Any, document: str, characters: int) -> tuple[str, list[int]]:
    """The beginning of a document, with its tokens."""
    text = document[:characters]
    return text, tokens_of(tokenizer, text)


def _read_on(
    tokenizer: Any, prose: Prose, windows: Windows, budget: int, drawn: dict[int, tuple[str, list[int]]]
) -> int:
    """Read `drawn` as far as is needed (in place) to know how many tokens each document gives at most."""
    while True:
        level = _level([len(tokens) for _, tokens in drawn.values()], windows, budget)
        short = [
            i
            for i, (text, tokens) in drawn.items()
            if len(text) < len(prose.documents[i]) and len(tokens) < level + windows.stride
        ]
        if not short:
            return level
        for i in short:
            drawn[i] = _begin(tokenizer, prose.documents[i], 2 * len(drawn[i][0]))


def _level(lengths: Sequence[int], windows: Windows, budget: int) -> int:
    """Tokens that each document gives at most: whole windows, so that none is fed for a few tokens."""
    level = windows.context
    while level < max(lengths, default=0):
        if sum(min(n, level + windows.stride) for n in lengths) > budget:
            break
        level += windows.stride
    return level


def _passage(
    tokenizer: Any, title: str, text: str, tokens: list[int], level: int, windows: Windows
) -> Passage:
    if len(tokens) > level:
        text, tokens = _cut(tokenizer, text, tokens, level)
    unscored = len(tokenizer.decode(list(windows.unscored(tokens))).encode())
    return Passage(title, text, tuple(tokens), max(1, len(text.encode()) - unscored))


def _cut(tokenizer: Any, text: str, tokens: list[int], level: int) -> tuple[str, list[int]]:
    """A beginning of the text that has about `level` tokens and no more, to a word's end."""
    decoded = tokenizer.decode(tokens[:level], skip_special_tokens=True, clean_up_tokenization_spaces=False)
    end = max(len(decoded), len(text) * level // len(tokens))
    while True:
        piece = text[: _end_of_word(text, end)]
        own = tokens_of(tokenizer, piece)
        if len(own) <= level:
            return piece, own
        end = min(end - 1, end * level // len(own))


def _end_of_word(text: str, end: int) -> int:
    if end >= len(text) or text[end].isspace():
        return end
    spaces = [k for k in range(max(1, end - _WORD), end) if text[k].isspace()]
    return spaces[-1] if spaces else end


def tokens_of(tokenizer: Any, text: str) -> list[int]:
    """The tokens of a text alone, without what the tokenizer puts around it."""
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]) if text else []
