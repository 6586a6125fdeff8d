"""`tiku predict ARTEFACT INPUT`: predictions of a finished artefact."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tiku.cli import _options as o
from tiku.cli._console import print_json, remark
from tiku.core.errors import printable
from tiku.core.startup import idle_here, insist, started_environment
from tiku.core.text import Text

if TYPE_CHECKING:
    from tiku.artefact import Prediction

__all__ = ["register"]

_INPUT = (
    "A text; a file with one text per line (.txt); a CSV, JSONL or Parquet file; or - for standard input."
)
_Artefact = Annotated[Path, typer.Argument(help="An artefact folder.", metavar="ARTEFACT")]
_Input = Annotated[str, typer.Argument(help=_INPUT, metavar="INPUT")]
_AGAIN = "TIKU_STARTED_AGAIN"
_MaxTokens = Annotated[
    int,
    typer.Option("--max-tokens", min=1, max=100_000, help="Language models: tokens per answer.", metavar="N"),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict", short_help="Predict with a finished artefact.")(predict)


def predict(
    artefact: _Artefact,
    input: _Input,
    text: o.TextColumn = None,
    text_pair: o.PairColumn = None,
    threads: o.Threads = None,
    device: o.Device = "auto",
    max_tokens: _MaxTokens = 64,
    lang: o.Lang = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Print one prediction per input: label, its score and the text, or the continuation."""
    language = o.language(lang)
    from tiku.artefact import open_artefact, read_manifest
    from tiku.artefact.prediction import predictions
    from tiku.cli._inputs import read_inputs

    _start_as_asked(read_manifest(artefact).serve.environment)
    texts = read_inputs(input, text, text_pair, None if quiet else language)
    model = open_artefact(artefact, threads=threads, device=device)
    try:
        found = predictions(model, texts, max_tokens=max_tokens)
    finally:
        model.close()
    if model.truncated and not quiet:
        remark(_cut(model.truncated, len(texts))[language])
    if as_json:
        rows = [_row(one, prediction) for one, prediction in zip(texts, found, strict=True)]
        print_json({"artefact": str(artefact), "truncated": model.truncated, "predictions": rows})
    else:
        print("\n".join(_line(one, prediction) for one, prediction in zip(texts, found, strict=True)))


def _start_as_asked(environment: Mapping[str, str]) -> None:
    """Start this command again where the artefact wants its process to begin with other settings.

    Raises `CannotMeasure` where they do not act even then, as when a library is missing.
    """
    if not idle_here(environment):
        return
    if os.environ.get(_AGAIN):
        insist(environment)
    again = started_environment(environment, {**os.environ, _AGAIN: "1"})
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], again)


def _cut(count: int, total: int) -> Text:
    return Text(
        f"{count} of {total} inputs are longer than the model reads, and were cut",
        f"{total} 个输入中有 {count} 个超过模型长度上限，已截断",
    )


def _row(one: Any, prediction: Prediction) -> dict[str, Any]:
    if prediction.text is not None:
        return {"input": one, "text": prediction.text}
    return {"input": one, "label": prediction.label, "scores": prediction.scores}


def _line(one: Any, prediction: Prediction) -> str:
    if prediction.label is None:
        return str(prediction.text)
    shown = one if isinstance(one, str) else " ‖ ".join(one)
    score, start = prediction.scores[prediction.label], " ".join(shown.split())[:120]
    return f"{prediction.label}\t{score:.4f}\t{printable(start)}"
