"""Options that several commands share."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from tiku.core.errors import BadInput
from tiku.core.text import Language

__all__ = [
    "Device",
    "Json",
    "Lang",
    "Maximize",
    "Minimize",
    "Minutes",
    "Out",
    "PairColumn",
    "Quiet",
    "Require",
    "TextColumn",
    "Threads",
    "language",
    "takes_plan_options",
]  # fmt: skip

_MODEL = "A folder, a hub id, a .gguf file, module:function, or sample:NAME."
_DATA = "A file, a folder, or sample:NAME; may be repeated."
_REQUIRE = '"METRIC OP VALUE", for example "accuracy >= 0.98 * base"; may be repeated.'
_TASK = "What the model is for; default from model and data."

Model = Annotated[str, typer.Argument(help=_MODEL, metavar="MODEL")]
Data = Annotated[list[str], typer.Option("--data", "-d", help=_DATA, metavar="DATA")]
Out = Annotated[
    Path, typer.Option("--out", "-o", help="The exam's folder; run again to go on there.", metavar="DIR")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes on stderr.")]
Lang = Annotated[str | None, typer.Option("--lang", help="Default from LANG.", metavar="en|zh")]
Require = Annotated[list[str] | None, typer.Option("--require", "-r", help=_REQUIRE, metavar="EXPR")]
Minimize = Annotated[str | None, typer.Option("--minimize", help="The metric to lower.", metavar="METRIC")]
Maximize = Annotated[str | None, typer.Option("--maximize", help="The metric to raise.", metavar="METRIC")]
Budget = Annotated[
    str, typer.Option("--budget", "-b", help="How much to measure.", metavar="quick|standard|thorough")
]
Minutes = Annotated[
    float | None, typer.Option("--minutes", help="The time budget, instead of the budget's own.", metavar="N")
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of splits, training and resampling.", metavar="N")]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, max=1024, help="CPU threads; default every physical core.", metavar="N"),
]
Device = Annotated[str, typer.Option("--device", help="Where the model runs.", metavar="auto|cpu|cuda")]
TaskName = Annotated[str | None, typer.Option("--task", help=_TASK, metavar="TASK")]


def _column(flag: str, help: str) -> Any:
    return typer.Option(flag, help=help, metavar="COLUMN")


TextColumn = Annotated[str | None, _column("--text", "The text column; guessed when left out.")]
PairColumn = Annotated[str | None, _column("--text-pair", "The second text's column.")]
LabelColumn = Annotated[str | None, _column("--label", "The label column; guessed when left out.")]
GroupColumn = Annotated[str | None, _column("--group", "Examples of one group stay in one split.")]
SplitColumn = Annotated[str | None, _column("--split", "A column that says train, validation or test.")]
ContextColumn = Annotated[str | None, _column("--context", "Multiple choice: the question's column.")]
OptionsColumn = Annotated[str | None, _column("--options", "Multiple choice: the column of options.")]
AnswerColumn = Annotated[str | None, _column("--answer", "Multiple choice: the right option's column.")]
SliceColumns = Annotated[
    list[str] | None,
    typer.Option("--slice", help="A column whose values are judged one by one.", metavar="COLUMN"),
]
LabelMap = Annotated[
    list[str] | None,
    typer.Option("--label-map", help="Renames or merges labels; may be repeated.", metavar="FROM=TO"),
]


def plan_options(
    model: Model,
    data: Data,
    budget: Budget = "standard",
    seed: Seed = 0,
    threads: Threads = None,
    device: Device = "auto",
    task: TaskName = None,
    text: TextColumn = None,
    text_pair: PairColumn = None,
    label: LabelColumn = None,
    group: GroupColumn = None,
    split: SplitColumn = None,
    slices: SliceColumns = None,
    label_map: LabelMap = None,
    context: ContextColumn = None,
    options: OptionsColumn = None,
    answer: AnswerColumn = None,
) -> dict[str, Any]:
    """The arguments of `Plan` that every measuring command shares."""
    named = {
        "text": text, "text_pair": text_pair, "label": label, "group": group, "split": split,
        "slices": tuple(slices or ()) or None, "label_map": _pairs(label_map) or None,
        "context": context, "options": options, "answer": answer,
    }  # fmt: skip
    columns = {name: value for name, value in named.items() if value is not None}
    return {
        "model": model, "data": tuple(data), "budget": budget, "seed": seed, "threads": threads,
        "device": device, "task": task, "columns": columns,
    }  # fmt: skip


def takes_plan_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of `plan_options`; it receives them as the mapping `given`."""
    hints, own_hints = (
        get_type_hints(plan_options, include_extras=True),
        get_type_hints(command, include_extras=True),
    )
    shared = inspect.signature(plan_options).parameters
    own = {name: p for name, p in inspect.signature(command).parameters.items() if name != "given"}

    @functools.wraps(command)
    def run(**values: Any) -> Any:
        given = plan_options(**{name: values.pop(name) for name in shared})
        return command(given=given, **values)

    annotated = [p.replace(annotation=own_hints[name]) for name, p in own.items()]
    annotated += [p.replace(annotation=hints[name]) for name, p in shared.items()]
    annotated.sort(key=lambda p: p.default is not inspect.Parameter.empty)  # stable: arguments first
    signature = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in annotated]
    run.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in annotated}
    return run


def _pairs(items: list[str] | None) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for item in items or ():
        old, equals, new = item.partition("=")
        if not equals or not old or not new:
            raise BadInput(
                "a label mapping is FROM=TO",
                got=item,
                allowed="for example --label-map 1=positive",
                next_step="write the label of the data, an equals sign, and the class",
            )
        if found.setdefault(old, new) != new:
            raise BadInput(
                "one label is mapped twice",
                got=f"{old}={found[old]} and {item}",
                allowed="one class for each label",
                next_step="leave one of them out",
            )
    return found


def language(wanted: str | None) -> Language:
    """The language asked for, else that of the environment."""
    if wanted is None:
        stated = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
        return "zh" if next((s for s in stated if s), "").lower().startswith("zh") else "en"
    if wanted not in ("en", "zh"):
        raise BadInput(
            "there is no such language", got=wanted, allowed="en, zh", next_step="use --lang en or --lang zh"
        )
    return "zh" if wanted == "zh" else "en"
