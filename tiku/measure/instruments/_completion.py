"""Rounds of requests that a language model answers with its own text, as its artefact serves them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tiku.core.generation import Generated
from tiku.core.instrument import Workbench
from tiku.core.subject import Predictor
from tiku.measure.instruments._generation import cut, draw_prompts, prose_of

__all__ = ["Completer", "Round", "agreement", "costs", "draw_rounds"]

_SHARES = (1.0, 1.0, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25)  # requests end at different times, as users' do
_SHORTEST, _LONGEST = 4, 64  # new tokens of the longest request
_PROMPT_TOKENS = 64


@dataclass(frozen=True)
class Round:
    """Prompts with the tokens to generate after each; the end token is passed over, so that every
    model makes as many tokens."""

    prompts: tuple[str, ...]
    limits: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """New tokens in all."""
        return sum(self.limits)


def draw_rounds(bench: Workbench, count: int) -> list[Round]:
    """`count` rounds with other prompts in each. Raises `CannotMeasure` where there is too little text."""
    plan, model = bench.protocol, bench.candidate
    longest = min(_LONGEST, max(_SHORTEST, plan.decode_tokens))
    limits = tuple(max(1, round(share * longest)) for share in _SHARES)
    drawn = draw_prompts(model, prose_of(bench), count * len(limits), longest, plan.seed)
    texts = [cut(model, prompt.text, min(_PROMPT_TOKENS, prompt.prompt_tokens)) for prompt in drawn]
    return [Round(tuple(texts[at : at + len(limits)]), limits) for at in range(0, len(texts), len(limits))]


@dataclass
class Completer:
    """Answers rounds with one model and keeps what it made of each round."""

    model: Predictor
    rounds: Sequence[Round]
    made: dict[int, list[Generated]] = field(default_factory=dict)

    def __call__(self, i: int) -> None:
        """Answer round i."""
        asked = self.rounds[i]
        self.made[i] = self.model.complete(asked.prompts, asked.limits, past_end=True)

    def all(self) -> list[Generated]:
        """Everything made, in the order of rounds and requests."""
        return [one for i in range(len(self.rounds)) for one in self.made[i]]


def costs(made: Sequence[Generated]) -> dict[str, Any]:
    """How many tokens a forward pass over one request gave, and which share of the drafts stood."""
    tokens, forwards = sum(len(one.tokens) for one in made), sum(one.forwards for one in made)
    proposed, accepted = sum(one.proposed for one in made), sum(one.accepted for one in made)
    return {
        "tokens_per_pass": tokens / forwards if forwards else None,
        "drafted": proposed,
        "acceptance_rate": accepted / proposed if proposed else None,
    }


def agreement(ours: Sequence[Generated], theirs: Sequence[Generated]) -> dict[str, Any]:
    """Whether both made the same tokens, and the mean share of a text before the first difference."""
    pairs = [(np.asarray(a.tokens), np.asarray(b.tokens)) for a, b in zip(ours, theirs, strict=True)]
    shares = [_alike(a, b) for a, b in pairs]
    return {"same_output": all(share == 1.0 for share in shares), "same_share": float(np.mean(shares))}


def _alike(a: Any, b: Any) -> float:
    if a.shape != b.shape:
        return 0.0
    differ = np.flatnonzero(a != b)
    return float(differ[0] / a.size) if differ.size else 1.0
