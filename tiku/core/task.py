"""`Task`: what a model is for, and what an exam asks of it when the user asks nothing special."""

from __future__ import annotations

from dataclasses import dataclass

from tiku.core.errors import UnknownName
from tiku.core.registry import closest
from tiku.core.text import Text

__all__ = ["TASKS", "Task", "find_task"]


@dataclass(frozen=True)
class Task:
    """`quality` is the headline metric; `keep` the requirement that stands in when none is given;
    `objective` the metric an exam improves by default."""

    name: str
    title: Text
    quality: str
    keep: str
    objective: str


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "text-classification",
            Text("text classification", "文本分类"),
            quality="accuracy",
            keep="accuracy >= base - 1 pt",
            objective="throughput",
        ),
        Task(
            "causal-lm",
            Text("causal language modelling", "因果语言建模"),
            quality="perplexity",
            keep="perplexity <= 1.02 * base",
            objective="time_per_token",
        ),
        Task(
            "image-classification",
            Text("image classification", "图像分类"),
            quality="accuracy",
            keep="accuracy >= base - 1 pt",
            objective="throughput",
        ),
        Task(
            "tabular-classification",
            Text("tabular classification", "表格分类"),
            quality="accuracy",
            keep="accuracy >= base - 1 pt",
            objective="throughput",
        ),
    )
}


def find_task(name: str) -> Task:
    """The task of this name. Raises `UnknownName`."""
    if name not in TASKS:
        hint = closest(name, TASKS) or "choose one of these tasks"
        raise UnknownName("there is no task of this name", got=name, allowed=TASKS, next_step=hint)
    return TASKS[name]
