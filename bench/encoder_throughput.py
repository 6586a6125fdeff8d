"""The exam's best encoder artefact against the transformers pipeline, on reviews in their natural lengths.

`python -m bench.encoder_throughput [EXAM]` reads what `make exam` left (out/exam unless EXAM says otherwise).
The peer is the base that the artefact was made from: float32, batches of 32, in the order of the file.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from bench._pairs import Row, alternate, limit_threads, machine

_BATCH = 32
_ALLOWED_LOSS = 0.01  # of accuracy: beyond it the artefact does other work


def _pipeline(folder: Path, texts: Sequence[str], threads: int) -> Callable[[], list[str]]:
    """Labels by transformers, as its documentation sets it up for many texts."""
    import torch
    from transformers import pipeline

    classify = pipeline(
        "text-classification", model=str(folder), device="cpu", dtype=torch.float32, batch_size=_BATCH
    )

    def work() -> list[str]:
        torch.set_num_threads(threads)  # the artefact's session may have left its own
        return [answer["label"] for answer in classify(list(texts), truncation=True)]

    return work


def _agreement(truth: Sequence[str]) -> Callable[[Sequence[str], Sequence[str]], str]:
    """What both said. Raises `ValueError` when ours is right less often by more than a point."""

    def agree(ours: Sequence[str], peer: Sequence[str]) -> str:
        same = sum(a == b for a, b in zip(ours, peer, strict=True))
        right, theirs = (
            sum(a == b for a, b in zip(labels, truth, strict=True)) / len(truth) for labels in (ours, peer)
        )
        if theirs - right > _ALLOWED_LOSS:
            raise ValueError(f"accuracy {right:.4f} against {theirs:.4f}: not the same work")
        return f"{same:,} of {len(truth):,} labels agree; accuracy ours {right:.4f}, peer {theirs:.4f}"

    return agree


def rows(exam: Path, pairs: int, threads: int) -> list[Row]:
    """Seconds for the whole test split, encoding included."""
    from bench.encoder_quality import of_exam
    from tiku.artefact import open_artefact

    base, splits = of_exam(exam)
    texts = splits.test.inputs()
    truth = [splits.test.classes()[int(number)] for number in splits.test.targets()]
    best = open_artefact(exam / "artefact", threads=threads, device="cpu")

    def ours() -> list[str]:
        return [best.labels[number] for number in best.predict(texts).argmax(axis=1)]

    case = (
        f"{len(texts):,} test reviews, {threads} threads: {best.manifest.runtime}, "
        f"{best.manifest.numerics.scheme}, against float32 in batches of {_BATCH}"
    )
    peer = _pipeline(base.folder / "model", texts, threads)
    base.close()
    return [alternate(case, ours, peer, _agreement(truth), peer_package="transformers", pairs=pairs)]


def main() -> None:
    """Print a line, or the JSON object of the benches."""
    parser = argparse.ArgumentParser(prog="python -m bench.encoder_throughput")
    parser.add_argument("exam", nargs="?", type=Path, default=Path("out/exam"))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--pairs", type=int, default=7, help="turns (6 or more for an interval)")
    parser.add_argument("--threads", type=int, default=_cores(), help="for both (all physical cores)")
    arguments = parser.parse_args()
    if not (arguments.exam / "result.json").exists():
        parser.error(f"{arguments.exam} holds no result.json: run `make exam` first")
    limit_threads(arguments.threads)
    os.environ["RAYON_NUM_THREADS"] = str(arguments.threads)  # the tokenizers' own threads
    found = rows(arguments.exam, arguments.pairs, arguments.threads)
    if arguments.json:
        values = [asdict(row) for row in found]
        print(json.dumps({"bench": "encoder_throughput", "machine": machine(), "rows": values}, indent=1))
        return
    for row in found:
        span = "" if row.low is None else f" [{row.low:.2f}, {row.high:.2f}]"
        print(
            f"{row.case}: {row.ours:.2f} s against {row.peer:.2f} s, "
            f"ratio {row.ratio:.2f}{span}; {row.same_work}"
        )


def _cores() -> int:
    import psutil

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


if __name__ == "__main__":
    main()
