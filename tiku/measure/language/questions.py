"""Multiple choice as requests: worked examples, the question, each option as a continuation.

N questions, O options of all of them in order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiku.data.choices import Choices
from tiku.measure.language.requests import Request, encode_choices, fit, leading_tokens

__all__ = ["NORMALISATIONS", "Asked", "ask"]

_BETWEEN = "\n\n"  # examples

# What a log-likelihood is divided by, per option: nothing (Brown et al. 2020; lm-evaluation-harness
# `acc`), characters (`acc_norm`), UTF-8 bytes (`acc_bytes`), tokens (Brown et al. 2020, section 2.4).
NORMALISATIONS: dict[str, Callable[[str, Request], int]] = {
    "choice_accuracy": lambda option, request: 1,
    "choice_accuracy_norm": lambda option, request: len(option),
    "choice_accuracy_bytes": lambda option, request: len(option.encode("utf-8")),
    "choice_accuracy_tokens": lambda option, request: len(request.continuation),
}


@dataclass(frozen=True, eq=False)
class Asked:
    """`requests_O` are the options in order and `owners_O` the question of each. `prompts[i]` is what
    stands before the options of question i; `shots` worked examples are in it. `cut` counts requests
    that lost the beginning of their context."""

    questions: Choices
    prompts: tuple[str, ...]
    requests_O: tuple[Request, ...]
    owners_O: NDArray[np.int64]
    shots: int
    cut: int

    def divisors(self, name: str) -> NDArray[np.float64]:
        """Shape (O,): what `name` of `NORMALISATIONS` divides by."""
        options = [option for options in self.questions.options for option in options]
        of = NORMALISATIONS[name]
        sizes = [of(option, request) for option, request in zip(options, self.requests_O, strict=True)]
        return np.array(sizes, dtype=np.float64)

    def chosen(self, name: str, nats_O: NDArray[np.float64]) -> NDArray[np.int64]:
        """Shape (N,): the option with the highest normalised log-likelihood; the first of equals."""
        scores = np.split(nats_O / self.divisors(name), self._starts()[1:])
        return np.array([int(own.argmax()) for own in scores], dtype=np.int64)

    def shares(self, nats_O: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """The softmax of the raw log-likelihoods over each question's options."""
        powers = (np.exp(own - own.max()) for own in np.split(nats_O, self._starts()[1:]))
        return [own / own.sum() for own in powers]

    def _starts(self) -> NDArray[np.int64]:
        return np.flatnonzero(np.diff(self.owners_O, prepend=-1)).astype(np.int64)


def ask(tokenizer: Any, questions: Choices, examples: Choices | None, limit: int) -> Asked:
    """Requests for a model of `limit` positions.

    Each question follows all the examples, the same for every question. Where a question does not fit
    behind them, examples are left out, from the last, for every question alike; a question that is too
    long by itself loses its beginning.
    """
    worked = list(examples.worked()) if examples is not None else []
    while True:
        prompts = tuple(_BETWEEN.join([*worked, context]) for context in questions.contexts)
        texts = [[questions.delimiter + o for o in options] for options in questions.options]
        encoded = encode_choices(tokenizer, prompts, texts)
        flat = [request for requests in encoded for request in requests]
        longest = max(len(request.sequence) - 1 for request in flat)
        if longest <= limit or not worked:
            break
        worked.pop()
    fitted, cut = fit(flat, limit, keep=len(leading_tokens(tokenizer)))
    owners = np.repeat(np.arange(len(encoded)), [len(requests) for requests in encoded])
    return Asked(questions, prompts, tuple(fitted), owners, len(worked), cut)
