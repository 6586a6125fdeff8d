"""The two multiple-choice files of the evals wheel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

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

# The first byte of each character was already lost, or became a space.
_MENDED = (
    ("\x80\x94", "\u2014"), ("\x80\xa2", "\u2022"), ("\x80\x83", " "), ("\x9d", ""), ("\xc2\xa7", "\xa7"),
    ("\xc2\xbd", "\xbd"),
)  # fmt: skip


def read_questions(folder: Path, name: str, broken: frozenset[int] = frozenset()) -> Table:
    """The rows of one of the files, without the lines (from 1) that are known to be broken."""
    from dataclasses import replace

    from tiku.data.readers.jsonl import READER

    table = READER.read(folder / f"{name}.jsonl")
    table = table.take([i for i in range(len(table)) if i + 1 not in broken])
    columns = {column: [_mended(value) for value in values] for column, values in table.columns.items()}
    return replace(table, columns=columns)


def _mended(value: Any) -> Any:
    """Texts whose UTF-8 was once read as Latin-1, in messages and lists too, as they were written."""
    if isinstance(value, str):
        for wrong, right in _MENDED:
            value = value.replace(wrong, right)
    elif isinstance(value, list):
        value = [_mended(item) for item in value]
    elif isinstance(value, dict):
        value = {key: _mended(item) for key, item in value.items()}
    return value
