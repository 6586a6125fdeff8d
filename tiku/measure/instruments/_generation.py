"""One generation of a language model, timed by its parts: the prompt, then token by token."""

from __future__ import annotations

import bisect
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiku.core.errors import CannotMeasure
from tiku.core.instrument import Workbench
from tiku.core.subject import Predictor
from tiku.measure.clock import Clock, synchronise

__all__ = ["PROMPT_TOKENS", "Generator", "Prompt", "cut", "draw_prompts", "prose_of", "whole_prompt"]

PROMPT_TOKENS = 128
_CHARACTERS_PER_TOKEN = 8  # more than any tokenizer needs, so that a cut text holds enough tokens
_TEXT_FIELDS = ("documents", "contexts")  # of the data kinds "prose" and "choices"


@dataclass(frozen=True)
class Prompt:
    """`text` begins with the prompt; its first `prompt_tokens` tokens are fed at once, the next
    `decode_tokens` one by one, so that every model does the same work whatever it would say."""

    text: str
    prompt_tokens: int
    decode_tokens: int


def prose_of(bench: Workbench) -> str:
    """All text of the first dataset with running text. Raises `CannotMeasure` when there is none."""
    for data in bench.data:
        for name in _TEXT_FIELDS:
            if bench.candidate.task in data.tasks and hasattr(data, name):
                return "\n\n".join(getattr(data, name))
    raise CannotMeasure(
        "there is no text to prompt the model with",
        next_step="give prose or questions as data",
        got=bench.candidate.task,
    )


def draw_prompts(model: Predictor, text: str, n: int, decode_tokens: int, seed: int) -> list[Prompt]:
    """`n` prompts from random places of `text`; shorter ones where the text is short.

    Raises `CannotMeasure` when the text has fewer than two tokens more than are decoded.
    """
    rng = np.random.default_rng(seed)
    wanted = PROMPT_TOKENS + decode_tokens
    width = wanted * _CHARACTERS_PER_TOKEN
    starts = rng.integers(0, max(1, len(text) - width), size=n)
    pieces = [cut(model, text[start : start + width], wanted) for start in starts]
    available = min(len(e["input_ids"]) for e in model.encode(pieces))
    prompt_tokens = min(PROMPT_TOKENS, available - decode_tokens)
    if prompt_tokens < 2:
        raise CannotMeasure(
            "the text is too short to prompt the model with",
            got=f"{available} tokens",
            allowed=f"{decode_tokens + 2} or more",
            next_step="give a longer text",
        )
    return [Prompt(piece, prompt_tokens, decode_tokens) for piece in pieces]


def whole_prompt(model: Predictor, text: str, context: int, decode_tokens: int) -> Prompt:
    """One prompt that fills `context` tokens together with what is decoded, or as much as there is."""
    available = min(context, len(model.encode([text])[0]["input_ids"]))
    decoded = max(1, min(decode_tokens, available - 1))
    return Prompt(text, available - decoded, decoded)


def cut(model: Predictor, text: str, tokens: int) -> str:
    """The shortest beginning of `text` that holds so many tokens: tokenisation is timed too."""

    def held(characters: int) -> int:
        return len(model.encode([text[:characters]])[0]["input_ids"])

    return text[: bisect.bisect_left(range(len(text)), tokens, key=held)]


@dataclass
class Generator:
    """Feeds prompts to one model and keeps the seconds of the last run of each prompt.

    `first_s[i]` is the time to the first token (tokenisation, the prompt's forward pass, the choice
    of the token); `steps_s[i]` has shape (decode_tokens - 1,).
    """

    model: Predictor
    prompts: Sequence[Prompt]
    clock: Clock = time.perf_counter_ns
    first_s: dict[int, float] = field(default_factory=dict)
    steps_s: dict[int, NDArray[np.float64]] = field(default_factory=dict)

    def __call__(self, i: int) -> None:
        """Generate for prompt i; the first token comes from the prompt, each other from one step."""
        prompt, session = self.prompts[i], self.model.session
        marks = [self.clock()]
        ids = np.asarray(self.model.encode([prompt.text])[0]["input_ids"], dtype=np.int64)
        ids_BT = ids[None, : prompt.prompt_tokens + prompt.decode_tokens]
        cache: Any = None
        at = prompt.prompt_tokens
        logits, cache = session.extend(ids_BT[:, :at], cache, last_only=True)
        self._choose(logits, marks)
        for position in range(at, at + prompt.decode_tokens - 1):
            logits, cache = session.extend(ids_BT[:, position : position + 1], cache, last_only=True)
            self._choose(logits, marks)
        seconds = np.diff(np.array(marks, dtype=np.float64)) * 1e-9
        self.first_s[i], self.steps_s[i] = float(seconds[0]), seconds[1:]

    def _choose(self, logits_B1V: NDArray[np.float32], marks: list[int]) -> None:
        logits_B1V[:, -1].argmax(axis=-1)
        synchronise()
        marks.append(self.clock())

    def first(self) -> NDArray[np.float64]:
        """Seconds to the first token, shape (prompts,)."""
        return np.array([self.first_s[i] for i in range(len(self.prompts))])

    def per_token(self) -> NDArray[np.float64]:
        """Mean seconds of a decoding step, shape (prompts,)."""
        return np.array([self.steps_s[i].mean() for i in range(len(self.prompts))])
