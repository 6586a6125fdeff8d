"""What tables and plots of a perplexity are drawn from, as JSON values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiku.measure.language.passages import Windows
from tiku.measure.language.perplexity import ScoredText, Units

__all__ = ["protocol_of", "text_details"]

_EXAMPLES = 10
_TEXT = 300  # characters of a passage that are shown
_STRETCH = 64  # tokens of a passage that is looked at by itself
_DOCUMENTS = 50


def text_details(
    scored: ScoredText, units: Units, windows: Windows, tokenizer: Any, base_U: NDArray[np.float64] | None
) -> dict[str, Any]:
    """protocol, documents (hardest first), hardest_passages, by_context."""
    return {
        "protocol": protocol_of(scored, units, windows, tokenizer),
        "documents": _documents(scored, base_U if units.kind == "documents" else None),
        "hardest_passages": _hardest(scored, tokenizer),
        "by_context": _by_context(scored),
    }


def protocol_of(scored: ScoredText, units: Units, windows: Windows, tokenizer: Any) -> dict[str, Any]:
    """Everything the number depends on beside model and text."""
    scores = scored.scores
    return {
        "context": windows.context,
        "stride": windows.stride,
        "start": tokenizer.convert_ids_to_tokens(list(windows.start)),
        "documents": len(scored.passages),
        "tokens": int(units.tokens_U.sum()),
        "bytes": int(units.bytes_U.sum()),
        "fed_tokens": scored.fed_tokens,
        "units": units.kind,
        "unit_count": len(units.nats_U),
        "path": scores.path,
        "not_used": list(scores.fallbacks),
        "noise_floor_nats": scores.noise_floor,
        "probes": scores.probes,
    }


def _documents(scored: ScoredText, base_U: NDArray[np.float64] | None) -> list[dict[str, Any]]:
    found = []
    for i, (passage, nats) in enumerate(zip(scored.passages, scored.nats, strict=True)):
        own: dict[str, Any] = {
            "title": _shown(passage.title),
            "tokens": nats.size,
            "perplexity": _exp(nats.mean()),
        }
        if base_U is not None:
            own["base_perplexity"] = _exp(base_U[i] / nats.size)
        found.append(own)
    return sorted(found, key=lambda one: -one["perplexity"])[:_DOCUMENTS]


def _hardest(scored: ScoredText, tokenizer: Any) -> list[dict[str, Any]]:
    """The stretches with the most nats per token. A document's first stretch, which no model can know,
    counts only where there is no other."""
    found = []
    for passage, nats in zip(scored.passages, scored.nats, strict=True):
        tokens = passage.tokens[len(passage.tokens) - nats.size :]
        for start in range(0 if nats.size < 2 * _STRETCH else _STRETCH, nats.size, _STRETCH):
            own = nats[start : start + _STRETCH]
            if own.size >= min(_STRETCH // 2, nats.size):
                found.append((float(own.mean()), passage.title, tokens[start : start + _STRETCH]))
    worst = sorted(found, key=lambda one: -one[0])[:_EXAMPLES]
    return [
        {
            "title": _shown(title),
            "text": _shown(tokenizer.decode(list(tokens)).strip()),
            "tokens": len(tokens),
            "perplexity": _exp(nats),
        }
        for nats, title, tokens in worst
    ]


def _by_context(scored: ScoredText) -> list[dict[str, Any]]:
    """Mean nats by the number of tokens that stood before: 1, 2, 3 to 4, 5 to 8, …"""
    seen_S = np.concatenate([len(r.context) + np.arange(len(r.continuation)) for r in scored.requests])
    nats_S = -scored.scores.token_nats_S
    octave_S = np.ceil(np.log2(seen_S)).astype(int)
    return [
        {
            "least": int(seen_S[octave_S == k].min()),
            "most": int(seen_S[octave_S == k].max()),
            "tokens": int((octave_S == k).sum()),
            "perplexity": _exp(nats_S[octave_S == k].mean()),
        }
        for k in np.unique(octave_S).tolist()
    ]


def _exp(nats: float) -> float:
    return float(math.exp(min(float(nats), 700.0)))


def _shown(text: str) -> str:
    return text if len(text) <= _TEXT else text[: _TEXT - 1] + "…"
