"""Perplexity and bits per byte of running text, and paired with the base on the same tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiku.core.instrument import Instrument, Reading, Workbench
from tiku.core.measured import Measured
from tiku.core.metric import Metric
from tiku.core.subject import Predictor
from tiku.core.text import Text
from tiku.core.verdict import Comparison, Support
from tiku.measure.instruments._requests import LANGUAGE_TASK
from tiku.measure.instruments._text import (
    gives_text_back,
    pad_of,
    passages_for,
    text_of,
    tokenizer_of,
    unmeasured_when_unfit,
    windows_for,
)
from tiku.measure.language.passages import Passage, Windows, tokens_of
from tiku.measure.language.perplexity import ScoredText, Units, score_passages

__all__ = ["INSTRUMENT", "Perplexity"]

_TASKS = frozenset({LANGUAGE_TASK})
_PERPLEXITY = Metric(
    "perplexity", "1", "lower", Text("Perplexity", "困惑度"), _TASKS, "ratio", 0.02, ("ppl",)
)
_BITS = Metric(
    "bits_per_byte", "bit", "lower", Text("Bits per byte", "每字节比特数"), _TASKS, "ratio", 0.01, ("bpb",)
)


class Perplexity(Instrument):
    """Documents are the independent units: each gives its first tokens, scored in overlapping windows
    (see `tiku.measure.language.passages.Windows`), with the tokenizer's start token before it. Fewer
    than five documents are cut into blocks, and the interval is then about this text only. The protocol
    stands in the estimator and in the details.
    """

    name = "perplexity"
    metrics = (_PERPLEXITY, _BITS)
    cost_rank = 10
    on_items = True

    def supports(self, bench: Workbench) -> Support:
        """Language models with some text."""
        if bench.candidate.task != LANGUAGE_TASK or text_of(bench) is None:
            return Support.no("there is no running text for a language model", "没有供语言模型使用的连续文本")
        return Support.yes()

    def measure(self, bench: Workbench) -> Reading:
        """Score. Raises `CannotMeasure` when logits are not finite or the text is empty."""
        with unmeasured_when_unfit():
            return self._measure(bench)

    def _measure(self, bench: Workbench) -> Reading:
        from tiku.measure.instruments._text_details import text_details

        found = text_of(bench)
        assert found is not None  # supports() said so
        prose, warnings = found
        tokenizer = tokenizer_of(bench.candidate)
        windows = windows_for(tokenizer, bench)
        passages = passages_for(tokenizer, prose, windows, bench)
        scored = _score(bench.candidate, passages, windows, bench)
        units = scored.units(tokenizer)
        metrics, lossy = _measured(units, scored, windows, tokenizer)
        base_U, against, other = _against(bench, scored, windows, units, metrics)
        arrays = {"nats": units.nats_U, "tokens": units.tokens_U, "bytes": units.bytes_U}
        details = text_details(scored, units, windows, tokenizer, base_U)
        return Reading(metrics, against, details, arrays, (*warnings, *lossy, *other))


def _score(model: Predictor, passages: Sequence[Passage], windows: Windows, bench: Workbench) -> ScoredText:
    return score_passages(
        model.session, passages, windows, pad=pad_of(model.processor), progress=bench.progress
    )


def _measured(
    units: Units, scored: ScoredText, windows: Windows, tokenizer: Any
) -> tuple[dict[str, Measured], tuple[Text, ...]]:
    from tiku.measure import stats

    how = _estimator(units, scored, windows, tokenizer)
    found = {"perplexity": stats.perplexity(units.nats_U, units.tokens_U, units.groups_U)}
    warnings: tuple[Text, ...] = ()
    if gives_text_back(tokenizer, scored.passages):
        found["bits_per_byte"] = stats.bits_per_byte(units.nats_U, units.bytes_U, units.groups_U)
    else:
        warnings = (_LOSSY,)
    return {name: replace(one, estimator=how) for name, one in found.items()}, warnings


def _estimator(units: Units, scored: ScoredText, windows: Windows, tokenizer: Any) -> str:
    count, documents = len(units.nats_U), len(scored.passages)
    start = " ".join(tokenizer.convert_ids_to_tokens(list(windows.start))) or "nothing"
    if units.kind == "documents":
        over = f"{count} documents" if units.groups_U is None else f"{units.groups_U.max() + 1} titles"
    else:
        over = f"{count} blocks of {documents} documents (holds for this text, not for others)"
    interval = "delta method, t" if count > 1 else "no interval: too little text"
    return (
        f"sum of nats over {over}, {interval}; windows of {windows.context} tokens, stride {windows.stride}, "
        f"{start} before each document, {units.tokens_U.sum():,} tokens, {units.bytes_U.sum():,} bytes"
    )


def _against(
    bench: Workbench, scored: ScoredText, windows: Windows, units: Units, metrics: dict[str, Measured]
) -> tuple[NDArray[np.float64] | None, dict[str, Comparison], tuple[Text, ...]]:
    """The base's nats on the same units, the comparisons, and why there are none."""
    from tiku.measure import stats

    if bench.base is None:
        return None, {}, ()
    base_U = _base_nats(bench, bench.base, scored, windows, units)
    if base_U is None:
        return None, {}, (_OTHER_TOKENS,)
    if len(base_U) < 2:
        return base_U, {}, (_TOO_SHORT,)
    groups = units.groups_U
    found = {
        "perplexity": stats.compare_perplexity(_PERPLEXITY, base_U, units.nats_U, units.tokens_U, groups)
    }
    if "bits_per_byte" in metrics:
        ratio = stats.compare_means(_BITS, base_U, units.nats_U, groups)
        scale = len(base_U) / (math.log(2) * float(units.bytes_U.sum()))
        found["bits_per_byte"] = replace(ratio, base=ratio.base * scale, value=ratio.value * scale)
    return base_U, found, ()


def _base_nats(
    bench: Workbench, base: Predictor, scored: ScoredText, windows: Windows, units: Units
) -> NDArray[np.float64] | None:
    """What the base kept, or scores now, of the same tokens; None when it reads the text in others."""
    kept = bench.base_arrays
    if "nats" in kept and np.array_equal(kept["tokens"], units.tokens_U):
        return kept["nats"]
    theirs = windows_for(base.processor, bench)
    own = [tuple(tokens_of(base.processor, passage.text)) for passage in scored.passages]
    if theirs != windows or own != [passage.tokens for passage in scored.passages]:
        return None
    return _score(base, scored.passages, windows, bench).units(base.processor).nats_U


_LOSSY = Text(
    "bits per byte is left out: this tokenizer does not give the text back (unknown characters, lower case "
    "or the like), so its bytes were not all predicted",
    "未给出每字节比特数：该分词器无法还原文本（未知字符、转小写等），并非所有字节都被预测",
)
_OTHER_TOKENS = Text(
    "not compared with the base in perplexity: it reads the text in other tokens; compare bits per byte",
    "未与基线比较困惑度：基线对文本的分词不同；请比较每字节比特数",
)
_TOO_SHORT = Text(
    "not compared with the base in perplexity: the text is too short to be cut into blocks",
    "未与基线比较困惑度：文本太短，无法分块",
)

INSTRUMENT = Perplexity()
