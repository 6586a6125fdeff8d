"""Nats of a text by a language model, and the independent units that its interval is taken over.

U units (documents or blocks), S predicted tokens of a passage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiku.core.method import Progress, silent
from tiku.core.subject import Session
from tiku.measure.language.passages import Passage, Windows
from tiku.measure.language.requests import Request
from tiku.measure.language.scoring import Path, Scores, score

__all__ = ["FEWEST_DOCUMENTS", "ScoredText", "Units", "score_passages"]

FEWEST_DOCUMENTS = 5  # with fewer, blocks of the text are the units
_BLOCKS = 24
_SMALLEST_BLOCK = 64  # tokens; neighbours depend on each other over shorter distances


@dataclass(frozen=True, eq=False)
class Units:
    """What counts as independent: `nats_U` negative log-likelihood, `tokens_U`, `bytes_U`; units of one
    group of `groups_U` may depend on each other. `kind` "documents", or "blocks" where there are too
    few documents: then the interval is about this text and says nothing of other documents."""

    nats_U: NDArray[np.float64]
    tokens_U: NDArray[np.int64]
    bytes_U: NDArray[np.int64]
    groups_U: NDArray[np.int64] | None
    kind: str


@dataclass(frozen=True, eq=False)
class ScoredText:
    """`nats[i]` are the negative log-probabilities of the predicted tokens of passage i. `requests` are
    the windows and `owners` the passage of each."""

    passages: Sequence[Passage]
    nats: Sequence[NDArray[np.float64]]
    requests: Sequence[Request]
    owners: Sequence[int]
    scores: Scores

    @property
    def fed_tokens(self) -> int:
        """Tokens that went through the model: windows overlap."""
        return sum(len(request.sequence) - 1 for request in self.requests)

    def units(self, tokenizer: Any) -> Units:
        """Documents, grouped by title, if there are `FEWEST_DOCUMENTS` titles or more; else blocks."""
        titles = [passage.title for passage in self.passages]
        if len(set(titles)) >= FEWEST_DOCUMENTS:
            return self._documents(titles)
        return self._blocks(tokenizer)

    def _documents(self, titles: Sequence[str]) -> Units:
        _, codes = np.unique(titles, return_inverse=True)
        return Units(
            np.array([nats.sum() for nats in self.nats]),
            np.array([nats.size for nats in self.nats]),
            np.array([passage.scored_bytes for passage in self.passages]),
            codes.astype(np.int64) if len(set(titles)) < len(titles) else None,
            "documents",
        )

    def _blocks(self, tokenizer: Any) -> Units:
        wanted = max(_SMALLEST_BLOCK, sum(nats.size for nats in self.nats) / _BLOCKS)
        nats_U, tokens_U, bytes_U = [], [], []
        for passage, nats in zip(self.passages, self.nats, strict=True):
            ends = np.linspace(0, nats.size, 1 + max(1, round(nats.size / wanted))).astype(int)
            parts = [nats[a:b] for a, b in pairwise(ends)]
            nats_U += [float(part.sum()) for part in parts]
            tokens_U += [part.size for part in parts]
            bytes_U += _bytes_of_parts(tokenizer, passage, nats.size, ends).tolist()
        return Units(np.array(nats_U), np.array(tokens_U), np.array(bytes_U), None, "blocks")


def score_passages(
    session: Session,
    passages: Sequence[Passage],
    windows: Windows,
    *,
    pad: int = 0,
    path: Path | None = None,
    progress: Progress = silent,
) -> ScoredText:
    """Every predicted token of every passage. Raises `CannotMeasure` when logits are not finite."""
    requests: list[Request] = []
    owners: list[int] = []
    for i, passage in enumerate(passages):
        own = windows.over(passage.tokens)
        requests += own
        owners += [i] * len(own)
    scores = score(session, requests, pad=pad, path=path, progress=progress)
    counts = np.zeros(len(passages), dtype=np.int64)
    np.add.at(counts, owners, scores.lengths_N)
    nats = np.split(-scores.token_nats_S, np.cumsum(counts)[:-1])
    return ScoredText(passages, nats, requests, owners, scores)


def _bytes_of_parts(tokenizer: Any, passage: Passage, scored: int, ends: NDArray[Any]) -> NDArray[np.int64]:
    """UTF-8 bytes of parts of a passage: lengths of decoded tokens, brought to the passage's own sum."""
    tokens = passage.tokens[len(passage.tokens) - scored :]
    parts = [list(tokens[a:b]) for a, b in pairwise(ends)]
    sizes = np.cumsum([0, *(len(tokenizer.decode(part).encode()) for part in parts)])
    exact: NDArray[np.int64] = np.round(sizes * (passage.scored_bytes / max(1, sizes[-1]))).astype(np.int64)
    return np.diff(exact)
