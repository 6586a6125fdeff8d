"""Workbenches of tiny language models that were written and opened like any artefact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.measure.language.models import llama
from tests.measure.language.words import byte_level
from tiku.artefact import open_artefact, write
from tiku.core.data import Dataset
from tiku.core.instrument import Workbench
from tiku.core.protocol import Protocol
from tiku.core.recipe import Recipe
from tiku.core.subject import Predictor, Subject
from tiku.data.choices import Choices

PROTOCOL = Protocol(text_tokens=2_000, context=64, stride=32, choice_items=60, bootstrap=500)


def opened(folder: Path, module: Any = None, tokenizer: Any = None) -> Predictor:
    """A written and opened language model; by default a random Llama over bytes."""
    tokenizer = byte_level() if tokenizer is None else tokenizer
    tokenizer.model_max_length = min(tokenizer.model_max_length, 256)
    module = llama(vocab=len(tokenizer)) if module is None else module
    write(
        Subject("causal-lm", "causal-lm", module, tokenizer), folder, recipe=Recipe(), examples=["ice melts"]
    )
    return open_artefact(folder, threads=1, device="cpu")


def bench_of(
    candidate: Predictor,
    *data: Dataset,
    base: Predictor | None = None,
    train: tuple[Dataset, ...] = (),
    protocol: Protocol = PROTOCOL,
    **more: Any,
) -> Workbench:
    return Workbench(candidate, base, data, protocol, train=train, **more)


def questions(count: int = 40, groups: tuple[str, ...] | None = None, offset: int = 0) -> Choices:
    """Questions that differ in most of their letters; the right option is the first, second, … in turn."""
    nouns = ("river", "glacier", "meadow", "harbour", "desert", "canyon", "forest", "island", "swamp", "reef")
    verbs = ("freezes solid", "floods its banks", "dries out", "burns down", "drifts away")
    options = (" melts", "runs downhill and fast", "rain", "water in the sun")
    contexts = tuple(
        f"Question: case {i * 7919} of the {nouns[i % 10]} that {verbs[i // 10 % 5]} every {i + 3} years"
        "\nAnswer:"
        for i in range(offset, offset + count)
    )
    shown = tuple(tuple(o.strip() for o in options[: 2 + i % 3]) for i in range(offset, offset + count))
    answers = tuple(i % len(own) for i, own in enumerate(shown))
    return Choices("made", contexts, shown, answers, groups)
