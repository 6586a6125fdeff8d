"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tiku.core.errors import BadInput
from tiku.core.text import Language

__all__ = [
    "Budget", "Data", "Device", "GroupColumn", "Json", "LabelColumn", "LabelMap", "Lang", "Maximize",
    "Minimize", "Minutes", "Model", "Out", "PairColumn", "Quiet", "Require", "Seed", "SliceColumns",
    "TaskName", "TextColumn", "Threads", "columns", "language",
]  # fmt: skip

Model = Annotated[
    str,
    typer.Argument(help="A folder, a hub id, a .gguf file, module:function, or sample:NAME."),
]
Data = Annotated[
    list[str], typer.Option("--data", "-d", help="A file, a folder, or sample:NAME; may be repeated.")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="The exam's folder; run again to go on there.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Lang = Annotated[str | None, typer.Option("--lang", help="en or zh; default from LANG.")]
Require = Annotated[
    list[str] | None,
    typer.Option(
        "--require", "-r", help='"METRIC OP VALUE", for example "accuracy >= 0.98 * base"; may be repeated.'
    ),
]
Minimize = Annotated[str | None, typer.Option("--minimize", help="The metric to lower.")]
Maximize = Annotated[str | None, typer.Option("--maximize", help="The metric to raise.")]
Budget = Annotated[
    Literal["quick", "standard", "thorough"], typer.Option("--budget", "-b", help="How much to measure.")
]
Minutes = Annotated[
    float | None, typer.Option("--minutes", help="The time budget, instead of the budget's own.")
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of splits, training and resampling.")]
Threads = Annotated[int | None, typer.Option("--threads", help="CPU threads; default every physical core.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
TaskName = Annotated[
    str | None, typer.Option("--task", help="What the model is for; default from model and data.")
]
TextColumn = Annotated[str | None, typer.Option("--text", help="The text column.")]
PairColumn = Annotated[str | None, typer.Option("--text-pair", help="The second text's column.")]
LabelColumn = Annotated[str | None, typer.Option("--label", help="The label column.")]
GroupColumn = Annotated[str | None, typer.Option("--group", help="Examples of one group stay in one split.")]
SliceColumns = Annotated[
    list[str] | None, typer.Option("--slice", help="A column whose values are judged one by one.")
]
LabelMap = Annotated[list[str] | None, typer.Option("--label-map", help="FROM=TO, renames or merges labels.")]


def columns(
    text: str | None, pair: str | None, label: str | None, group: str | None,
    slices: list[str] | None, label_map: list[str] | None,
) -> dict[str, Any]:  # fmt: skip
    """The column flags that were given, as `tiku.data.Columns` takes them."""
    given = {
        "text": text, "text_pair": pair, "label": label, "group": group,
        "slices": tuple(slices or ()) or None, "label_map": _pairs(label_map) or None,
    }  # fmt: skip
    return {name: value for name, value in given.items() if value is not None}


def _pairs(items: list[str] | None) -> Mapping[str, str]:
    found = {}
    for item in items or ():
        old, equals, new = item.partition("=")
        if not equals or not old or not new:
            raise BadInput(
                "a label mapping is FROM=TO", got=item, allowed="for example --label-map 1=positive"
            )
        found[old] = new
    return found


def language(wanted: str | None) -> Language:
    """The language asked for, else that of the environment."""
    if wanted is None:
        return "zh" if os.environ.get("LC_ALL", os.environ.get("LANG", "")).startswith("zh") else "en"
    if wanted not in ("en", "zh"):
        raise BadInput("there is no such language", got=wanted, allowed="en, zh")
    return "zh" if wanted == "zh" else "en"
