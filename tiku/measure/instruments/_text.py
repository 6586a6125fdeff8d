"""The running text that a language model is judged on, and how it is cut into windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tiku.core.errors import CannotMeasure, DataError
from tiku.core.instrument import Workbench
from tiku.core.subject import Predictor
from tiku.core.text import Text
from tiku.data.choices import Choices
from tiku.data.prose import Prose
from tiku.measure.language.passages import Passage, Windows, draw_passages
from tiku.measure.language.requests import start_tokens

__all__ = [
    "gives_text_back",
    "pad_of",
    "passages_for",
    "text_of",
    "tokenizer_of",
    "unmeasured_when_unfit",
    "windows_for",
]

_CHECKED = 16
_NEEDED = ("decode", "convert_ids_to_tokens", "bos_token_id", "eos_token_id", "model_max_length")


def text_of(bench: Workbench) -> tuple[Prose, tuple[Text, ...]] | None:
    """The first prose; without any, the questions with their right answers, which a warning says."""
    prose, choices = bench.dataset("prose"), bench.dataset("choices")
    if isinstance(prose, Prose) and len(prose):
        return prose.whole(), ()
    if not isinstance(choices, Choices) or not len(choices):
        return None
    names = tuple(str(name) for name in choices.group_ids or range(len(choices)))
    warning = Text(
        "no running text was given: the perplexity is that of the questions with their right answers",
        "未提供连续文本：困惑度按题目连同正确答案计算",
    )
    return Prose(choices.name, choices.worked(), names), (warning,)


def tokenizer_of(model: Predictor) -> Any:
    """The model's tokenizer. Raises `CannotMeasure` for a processor of another kind."""
    tokenizer = model.processor
    lacking = [name for name in _NEEDED if not hasattr(tokenizer, name)]
    if lacking or not callable(tokenizer):
        raise CannotMeasure(
            "log-likelihoods need a tokenizer as transformers has it",
            got=f"{type(tokenizer).__name__} without {', '.join(lacking) or 'a call'}",
            allowed="an object with the interface of PreTrainedTokenizerBase",
            next_step="return (module, tokenizer) with a transformers tokenizer",
        )
    return tokenizer


@contextmanager
def unmeasured_when_unfit() -> Iterator[None]:
    """Data that this model cannot be judged on leave the metric out; they do not end the trial."""
    try:
        yield
    except DataError as error:
        raise CannotMeasure(
            error.what, got=error.got, allowed=error.allowed, next_step=error.next_step
        ) from error


def windows_for(tokenizer: Any, bench: Workbench) -> Windows:
    """The protocol's windows, no wider than the model's positions."""
    context = min(bench.protocol.context, tokenizer.model_max_length)
    return Windows(context, min(bench.protocol.stride, context), start_tokens(tokenizer))


def passages_for(tokenizer: Any, prose: Prose, windows: Windows, bench: Workbench) -> list[Passage]:
    """The drawn passages. Raises `CannotMeasure` when no document has two tokens."""
    plan = bench.protocol
    found = draw_passages(tokenizer, prose, windows, plan.text_tokens, plan.seed)
    if not found:
        raise CannotMeasure(
            "the text has nothing to predict",
            got=f"{len(prose)} documents of less than two tokens",
            allowed="documents of two tokens or more",
            next_step="give longer texts",
        )
    return found


def gives_text_back(tokenizer: Any, passages: Sequence[Passage]) -> bool:
    """Whether the tokens still say the whole text, white space aside: bits per byte needs that."""
    for passage in passages[:_CHECKED]:
        told = tokenizer.decode(list(passage.tokens), clean_up_tokenization_spaces=False)
        if "".join(told.split()) != "".join(passage.text.split()):
            return False
    return True


def pad_of(tokenizer: Any) -> int:
    """A token id to fill rows with; nothing looks at it."""
    return int(tokenizer.pad_token_id or 0)
