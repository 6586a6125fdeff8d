"""The exam's best encoder artefact against the transformers pipeline, on reviews in their natural lengths.

`python -m bench.encoder_throughput [EXAM]` reads what `make exam` left (out/exam unless EXAM says otherwise).
The peer is the base that the artefact was made from: float32, batches of 32, in the order of the file. Both
answer the whole test split once, which says whether they do the same work; the turns are timed on a part of
it, drawn with a fixed seed.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench._pairs import Row, alternate, limit_threads, machine

_BATCH = 32
_ALLOWED_LOSS = 0.01  # of accuracy: beyond it the artefact does other work
_TIMED = 384  # reviews in a turn: a pipeline on two cores of this year takes four seconds for them

Answer = Callable[[Sequence[str]], list[str]]


def pipeline_answer(folder: Path, threads: int) -> Answer:
    """Labels by transformers, as its documentation sets it up for many texts."""
    import torch
    from transformers import pipeline

    classify = pipeline(
        "text-classification", model=str(folder), device="cpu", dtype=torch.float32, batch_size=_BATCH
    )

    def answer(texts: Sequence[str]) -> list[str]:
        torch.set_num_threads(threads)  # the artefact's session may have left its own
        return [found["label"] for found in classify(list(texts), truncation=True)]

    return answer


def artefact_answer(folder: Path, threads: int) -> tuple[Answer, str]:
    """Labels by an artefact, and what it is in a few words."""
    from tiku.artefact import open_artefact

    best = open_artefact(folder, threads=threads, device="cpu")

    def answer(texts: Sequence[str]) -> list[str]:
        return [best.labels[number] for number in best.predict(texts).argmax(axis=1)]

    return answer, f"{best.manifest.runtime}, {best.manifest.numerics.scheme}"


def agreement(ours: Sequence[str], peer: Sequence[str], truth: Sequence[str]) -> str:
    """What both said. Raises `ValueError` when ours is right less often by more than a point."""
    same = sum(a == b for a, b in zip(ours, peer, strict=True))
    right, theirs = (
        sum(a == b for a, b in zip(labels, truth, strict=True)) / len(truth) for labels in (ours, peer)
    )
    if theirs - right > _ALLOWED_LOSS:
        raise ValueError(f"accuracy {right:.4f} against {theirs:.4f}: not the same work")
    return f"{same:,} of {len(truth):,} labels agree; accuracy ours {right:.4f}, peer {theirs:.4f}"


def labels_of(splits: Any) -> list[str]:
    """The true labels of the test split, as words."""
    return [splits.test.classes()[int(number)] for number in splits.test.targets()]


def timed_part(texts: Sequence[str]) -> list[str]:
    """The texts of a turn, in the order of the file."""
    import numpy as np

    drawn = np.random.default_rng(0).permutation(len(texts))[:_TIMED]
    return [texts[i] for i in sorted(drawn)]


def in_turns(case: str, ours: Answer, peer: Answer, splits: Any, *, peer_package: str, pairs: int) -> Row:
    """The same work is checked on the whole test split, timed on a part of it."""
    texts = splits.test.inputs()
    found = agreement(ours(texts), peer(texts), labels_of(splits))
    part = timed_part(texts)
    return alternate(
        f"{len(part):,} test reviews, {case}",
        lambda: ours(part),
        lambda: peer(part),
        lambda mine, theirs: found,
        peer_package=peer_package,
        pairs=pairs,
        warm_up=False,
    )


def rows(exam: Path, pairs: int, threads: int) -> list[Row]:
    """Seconds for a part of the test split, encoding included."""
    from bench.encoder_quality import of_exam

    base, splits = of_exam(exam)
    peer = pipeline_answer(base.folder / "model", threads)
    base.close()
    ours, kind = artefact_answer(exam / "artefact", threads)
    case = f"{threads} threads: {kind}, against float32 in batches of {_BATCH}"
    return [in_turns(case, ours, peer, splits, peer_package="transformers", pairs=pairs)]


def start(bench: str, found: Callable[[Path, int, int], list[Row]]) -> None:
    """Print lines, or the JSON object of the benches."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{bench}")
    parser.add_argument("exam", nargs="?", type=Path, default=Path("out/exam"))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--pairs", type=int, default=7, help="turns (6 or more for an interval)")
    parser.add_argument("--threads", type=int, default=_cores(), help="for both (all physical cores)")
    arguments = parser.parse_args()
    if not (arguments.exam / "result.json").exists():
        parser.error(f"{arguments.exam} holds no result.json: run `make exam` first")
    limit_threads(arguments.threads)
    os.environ["RAYON_NUM_THREADS"] = str(arguments.threads)  # the tokenizers' own threads
    measured = found(arguments.exam, arguments.pairs, arguments.threads)
    if arguments.json:
        values = [asdict(row) for row in measured]
        print(json.dumps({"bench": bench, "machine": machine(), "rows": values}, indent=1))
        return
    for row in measured:
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
    start("encoder_throughput", rows)
