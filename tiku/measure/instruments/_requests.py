"""Which examples stand for the requests that a model serves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tiku.core.data import Dataset
from tiku.core.errors import CannotMeasure
from tiku.core.instrument import Workbench
from tiku.core.verdict import Support

__all__ = [
    "classified",
    "length_of",
    "longest_and_typical",
    "random_requests",
    "requests_of",
    "supports_requests",
    "typical_requests",
]

LANGUAGE_TASK = "causal-lm"


def classified(bench: Workbench) -> Dataset | None:
    """The first dataset that fits the model's task and has classes."""
    task = bench.candidate.task
    return next((d for d in bench.data if task in d.tasks and d.targets() is not None and len(d)), None)


def supports_requests(bench: Workbench) -> Support:
    """Whether there are single inputs that the model maps to one output each."""
    if bench.candidate.task == LANGUAGE_TASK:
        return Support.no(
            "a language model is timed while it generates (instrument generation)",
            "语言模型在生成过程中计时（见 generation 测量）",
        )
    if classified(bench) is None:
        return Support.no(
            f"no data of the task {bench.candidate.task} to draw requests from",
            f"没有 {bench.candidate.task} 任务的数据可用来抽取请求",
        )
    return Support.yes()


def requests_of(bench: Workbench) -> Sequence[Any]:
    """The inputs requests are drawn from. Raises `CannotMeasure` when there are none."""
    data = classified(bench)
    if data is None:
        raise CannotMeasure(
            "there are no requests to time", got=bench.candidate.task, next_step="give data with labels"
        )
    return data.inputs()


def length_of(item: Any) -> int:
    """Characters of a text or of all texts of a tuple; elements of an array."""
    if isinstance(item, str):
        return len(item)
    if isinstance(item, tuple | list):
        return sum(length_of(part) for part in item)
    return int(np.size(item))


def random_requests(inputs: Sequence[Any], n: int, seed: int) -> list[Any]:
    """`n` independent draws: without replacement while they last, then all over again."""
    rng = np.random.default_rng(seed)
    drawn: list[int] = []
    while len(drawn) < n:
        drawn += rng.permutation(len(inputs)).tolist()
    return [inputs[i] for i in drawn[:n]]


def typical_requests(inputs: Sequence[Any], n: int, seed: int) -> list[Any]:
    """`n` inputs spread evenly over the lengths, in random order: their mix is that of the data."""
    rng = np.random.default_rng(seed)
    by_length = np.argsort([length_of(item) for item in inputs], kind="stable")
    at = ((np.arange(n) + rng.random()) * len(inputs) / n).astype(int)
    return [inputs[i] for i in rng.permutation(by_length[np.minimum(at, len(inputs) - 1)])]


def longest_and_typical(inputs: Sequence[Any], n: int, seed: int) -> list[Any]:
    """Half the longest inputs there are (they decide a peak), half typical ones; at most `n`."""
    half = max(1, n // 2)
    longest = sorted(inputs, key=length_of, reverse=True)[:half]
    return [*longest, *typical_requests(inputs, min(half, len(inputs)), seed)]
