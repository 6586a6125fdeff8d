"""`tiku predict ARTEFACT INPUT`: predictions of a finished artefact."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tiku.cli import _options as o
from tiku.core.errors import DataError

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
    from tiku.artefact.predictor import open_artefact

    texts = _read(input, text, text_pair)
    model = open_artefact(artefact, threads=threads, device=device)
    try:
        if model.task == "causal-lm":
            rows: Iterator[dict[str, Any]] = _continued(texts, model.generate(texts, max_tokens))
        else:
            rows = _classified(texts, model.labels, model.predict(texts))
        for row in rows:
            print(json.dumps(row, ensure_ascii=False) if as_json else _line(row))
    finally:
        model.close()


def _read(spec: str, text: str | None, pair: str | None) -> list[Any]:
    from tiku.data.loading import load_inputs

    if spec != "-":
        return list(load_inputs(spec, text=text, text_pair=pair))
    lines = sys.stdin.buffer.read().decode("utf-8", errors="strict").splitlines()
    if not lines:
        raise DataError("standard input is empty", allowed="one input per line", next_step="pipe texts in")
    return lines


def _classified(texts: Sequence[Any], labels: Sequence[str], logits: Any) -> Iterator[dict[str, Any]]:
    from scipy.special import softmax

    for one, row in zip(texts, softmax(logits.astype("float64"), axis=1), strict=True):
        top = int(row.argmax())
        scores = {name: round(float(p), 6) for name, p in zip(labels, row, strict=True)}
        yield {"input": one, "label": labels[top], "probability": round(float(row[top]), 6), "scores": scores}


def _continued(texts: Sequence[str], outputs: Sequence[str]) -> Iterator[dict[str, Any]]:
    for one, output in zip(texts, outputs, strict=True):
        yield {"input": one, "output": output}


def _line(row: dict[str, Any]) -> str:
    if "output" in row:
        return str(row["output"])
    shown = row["input"] if isinstance(row["input"], str) else " ‖ ".join(row["input"])
    return f"{row['label']}\t{row['probability']:.4f}\t{' '.join(shown.split())[:120]}"
