"""Bytes of a file to text, or an error that says which byte and what the file probably is."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from tiku.core.errors import DataError

__all__ = ["decoded", "read_bytes", "read_text"]

_SIGNATURES = (
    (b"PAR1", "a Parquet file", "name it .parquet"),
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "unpack it, or save the sheet as CSV in UTF-8"),
    (b"\x1f\x8b", "a gzip archive", "unpack it with gunzip"),
    (b"%PDF", "a PDF", "extract its text first"),
    (b"ARROW1", "an Arrow file", "save it as Parquet"),
    (b"SQLite", "an SQLite database", "export the table as CSV"),
    (b"\x80\x04", "a pickle, which is never loaded", "save the data as CSV, JSONL or Parquet"),
)
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_bytes(path: Path) -> bytes:
    """The bytes of a file. Raises `DataError` when it is missing, unreadable, a folder or empty."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            "the file cannot be read",
            got=f"{path}: {os.strerror(error.errno or errno.EIO)}",
            allowed="a readable file",
            next_step="check the path and its permissions",
        ) from error
    if not content.strip():
        raise DataError(
            "the file is empty",
            got=path,
            allowed="at least one row",
            next_step="check that it was written completely",
        )
    return content


def read_text(path: Path) -> str:
    """The UTF-8 text of a file, without byte-order mark, lines ending in \\n. Raises `DataError`."""
    return decoded(read_bytes(path), path.name)


def decoded(content: bytes, name: str) -> str:
    """The text behind some bytes, as `read_text` gives it; `name` says where they came from."""
    _refuse_binary(name, content)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
        raise DataError(
            "the file is not valid UTF-8",
            got=f"{name}, line {line}, byte {column} of the line: 0x{content[error.start]:02x}",
            allowed="UTF-8, with or without byte-order mark",
            next_step=f"convert it, for example: iconv -f GB18030 -t UTF-8 {name} > utf8-{name}",
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _refuse_binary(name: str, content: bytes) -> None:
    for signature, kind, advice in _SIGNATURES:
        if content.startswith(signature):
            raise DataError(f"the file is {kind}, not text", got=name, allowed="UTF-8 text", next_step=advice)
    if content.startswith(_UTF16):
        raise DataError(
            "the file is UTF-16, not UTF-8",
            got=name,
            allowed="UTF-8, with or without byte-order mark",
            next_step=f"convert it: iconv -f UTF-16 -t UTF-8 {name} > utf8-{name}",
        )
    before, nul, _ = content.partition(b"\0")
    if nul:
        line = before.count(b"\n") + 1
        raise DataError(
            "the file holds NUL bytes: it is binary or damaged",
            got=f"{name}, line {line}",
            allowed="UTF-8 text",
            next_step="export the data again as CSV or JSONL",
        )
