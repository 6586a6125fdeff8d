"""The two multiple-choice files of the evals wheel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tiku.data.archives import Archive, Member

if TYPE_CHECKING:
    from tiku.data.table import Table

ARCHIVE = Archive(
    "evals==3.0.1.post1",
    "0abcb2051303500784b1641a6e4f6b813ed43ad64f879a37d344a6774eb8eb78",
    46_322_659,
    (
        Member(
            "evals/registry/data/quartz/samples.jsonl",
            "quartz.jsonl",
            "e439668cc38aa157bb1a746d9540f61f29d7f494a6618a955c8e3b5f55a363e7",
        ),
        Member(
            "evals/registry/data/sandbagging/samples-all-large.jsonl",
            "mmlu-1000.jsonl",
            "ae8f5342c41efd39921ee0e16c19c3ac3ef09cd8cf367158b47c69592e8f8fac",
        ),
    ),
)


def read_questions(folder: Path, name: str, broken: frozenset[int] = frozenset()) -> Table:
    """The rows of one of the files, without the lines (from 1) that are known to be broken."""
    from dataclasses import replace

    from tiku.data.readers.jsonl import READER

    table = READER.read(folder / f"{name}.jsonl")
    kept = [i for i in range(len(table)) if i + 1 not in broken]
    columns = {column: [values[i] for i in kept] for column, values in table.columns.items()}
    return replace(table, columns=columns, where=[table.where[i] for i in kept])
