"""`tiku predict ARTEFACT INPUT`: predictions of a finished artefact."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tiku.cli import _options as o
from tiku.core.errors import DataError

if TYPE_CHECKING:
    from tiku.artefact import Prediction

__all__ = ["register"]

_Artefact = Annotated[Path, typer.Argument(help="An artefact folder.")]
_Input = Annotated[
    str,
    typer.Argument(help="A text file (one input per line), a JSONL, CSV or Parquet file, or - for stdin."),
]
_MaxTokens = Annotated[
    int, typer.Option("--max-tokens", min=1, max=100_000, help="Language models: tokens per answer.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict")(predict)


def predict(
    artefact: _Artefact,
    input: _Input,
    text: o.TextColumn = None,
    text_pair: o.PairColumn = None,
    threads: o.Threads = None,
    device: o.Device = "auto",
    max_tokens: _MaxTokens = 64,
    as_json: o.Json = False,
) -> None:
    """Print one prediction per input: label and probability, or the continuation."""
    from tiku.artefact import open_artefact
    from tiku.artefact.prediction import predictions

    texts = _read(input, text, text_pair)
    model = open_artefact(artefact, threads=threads, device=device)
    try:
        for one, prediction in zip(texts, predictions(model, texts, max_tokens=max_tokens), strict=True):
            print(
                json.dumps(_row(one, prediction), ensure_ascii=False) if as_json else _line(one, prediction)
            )
    finally:
        model.close()


def _read(spec: str, text: str | None, pair: str | None) -> list[Any]:
    """Lines of standard input or of a text file; else the text column (or two) of a table."""
    if spec == "-":
        return _lines(sys.stdin.buffer.read(), "standard input")
    path = Path(spec)
    if path.is_file() and path.suffix.lower() in ("", ".txt"):
        return _lines(path.read_bytes(), spec)
    from tiku.data.columns import Columns, guess_text, text_pair
    from tiku.data.loading import read_table

    table = read_table(path)
    Columns(text=text, text_pair=pair).check(table)
    if text is None and pair is None and (both := text_pair(table)):
        text, pair = both
    guessed = guess_text(table, [pair]) if text is None else None
    name = text or (guessed[0] if guessed else None)
    if name is None:
        raise DataError(
            "no column holds texts", got=spec, allowed=table.columns, next_step="name it: --text COLUMN"
        )
    firsts = [str(value) for value in table.columns[name]]
    if pair is None:
        return firsts
    return list(zip(firsts, (str(value) for value in table.columns[pair]), strict=True))


def _lines(raw: bytes, name: str) -> list[Any]:
    try:
        lines = raw.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is not UTF-8", got=f"byte {error.start}: {error.reason}", allowed="UTF-8 text",
            next_step="convert it, for example with iconv -t utf-8",
        ) from error  # fmt: skip
    if not lines:
        raise DataError(f"{name} is empty", allowed="one input per line", next_step="give at least one line")
    return lines


def _row(one: Any, prediction: Prediction) -> dict[str, Any]:
    if prediction.text is not None:
        return {"input": one, "text": prediction.text}
    return {"input": one, "label": prediction.label, "scores": prediction.scores}


def _line(one: Any, prediction: Prediction) -> str:
    if prediction.label is None:
        return str(prediction.text)
    shown = one if isinstance(one, str) else " ‖ ".join(one)
    return f"{prediction.label}\t{prediction.scores[prediction.label]:.4f}\t{' '.join(shown.split())[:120]}"
