# ruff: noqa: E501 - one row per case reads as a table
"""Data files that cannot be read."""

from __future__ import annotations

import gzip
import os

import pytest

from tests.badinput.refusal import Case, Home, case, check, exam, rows, table


def _parquet(home: Home, cut: int = 0) -> str:
    import pyarrow
    import pyarrow.parquet

    texts, labels = zip(*rows(), strict=True)
    pyarrow.parquet.write_table(pyarrow.table({"text": texts, "label": labels}), home.path / "bad.parquet")
    whole = (home.path / "bad.parquet").read_bytes()
    return home.write("bad.parquet", whole[:cut] if cut else whole)


def _saved(home: Home, **files: str) -> str:
    for name, content in files.items():
        home.write(f"saved/{name.replace('__', '.')}", content)
    return "saved"


def _good(home: Home) -> str:
    return (home.path / "reviews.csv").read_text(encoding="utf-8")


def _folder(home: Home, name: str, *files: str) -> str:
    (home.path / name).mkdir()
    for file in files:
        home.write(f"{name}/{file}", "x")
    return name


CASES = [
    case("missing", lambda h: exam("nowhere.csv"), "no such file or folder", "nowhere.csv", "sample:"),
    case("mistyped sample", lambda h: exam("sample:movie-review"), "no sample of this name", "did you mean movie-reviews"),
    case("a model sample", lambda h: exam("sample:minilm"), "this sample is a model, not data"),
    case("images, not texts", lambda h: exam("sample:digits"), "image-classification data yet"),
    case("name too long", lambda h: exam("x" * 5000 + ".csv"), "File name too long"),
    case("home of nobody", lambda h: exam("~nobody-here/reviews.csv"), "no such file or folder"),
    case("empty name", lambda h: exam(""), "the data is empty", "data ''"),
    case("empty file", lambda h: exam(h.write("bad.csv", "")), "the file is empty", "bad.csv"),
    case("white space only", lambda h: exam(h.write("bad.csv", "\n\n  \n")), "the file is empty"),
    case("header only", lambda h: exam(h.write("bad.csv", "text,label\n")), "a header and no rows"),
    case("empty folder", lambda h: exam(_folder(h, "bad")), "no data that can be read"),
    case("folder of other things", lambda h: exam(_folder(h, "bad", "a.png", "b.exe")), "no data that can be read"),
    case("unknown ending", lambda h: exam(h.write("bad.xlsx", "x")), "files of this kind are not read", ".csv"),
    case("no ending", lambda h: exam(h.write("bad", _good(h))), "files of this kind are not read"),
    case("binary", lambda h: exam(h.write("bad.csv", b"text,label\n\x00\x01\x02,\xff\n")), "NUL bytes", "line 2"),
    case("zip named csv", lambda h: exam(h.write("bad.csv", b"PK\x03\x04" + b"x" * 50)), "a zip archive or an Excel workbook"),
    case("gzip named csv", lambda h: exam(h.write("bad.csv", gzip.compress(b"text,label\n"))), "gunzip"),
    case("pickle named csv", lambda h: exam(h.write("bad.csv", b"\x80\x04N.")), "a pickle, which is never loaded"),
    case("parquet named csv", lambda h: exam(h.write("bad.csv", (h.path / _parquet(h)).read_bytes())), "name it .parquet"),
    case("csv named parquet", lambda h: exam(h.write("bad.parquet", _good(h))), "not a whole Parquet file"),
    case("truncated parquet", lambda h: exam(_parquet(h, cut=700)), "not a whole Parquet file", "truncated"),
    case("UTF-16", lambda h: exam(h.write("bad.csv", _good(h).encode("utf-16"))), "UTF-16", "iconv"),
    case("UTF-16 without mark", lambda h: exam(h.write("bad.csv", _good(h).encode("utf-16-le"))), "NUL bytes"),
    case("GB18030", lambda h: exam(h.write("bad.csv", "text,label\n很好看,good\n".encode("gb18030"))), "not valid UTF-8", "line 2", "iconv -f GB18030"),
    case("open quote", lambda h: exam(h.csv([*rows(), ['"never closed', "good"]])), "the rows cannot be read", "line 62", "close the open quote"),
    case("text behind a quote", lambda h: exam(h.csv([['"a" film', "good"], *rows()])), "the rows cannot be read", "line 2"),
    case("wrong delimiter", lambda h: exam(h.write("bad.csv", _good(h).replace(",", "^"))), "an encoder", "--label COLUMN"),
    case("ragged row", lambda h: exam(h.csv([*rows(), ["a", "film", "good"]])), "another number of fields", "line 62: 3 fields"),
    case("huge field", lambda h: exam(h.csv([["x" * 1_000_001, "good"], *rows()])), "field larger than", "1,000,000"),
    case("column named twice", lambda h: exam(h.csv([[*row, "x"] for row in rows()], header="text,label,text")), "names a column twice", "text"),
    case("JSON line cut", lambda h: exam(h.write("bad.jsonl", '{"text": "a", "label": "b"}\n{"text": "a", "la\n')), "not valid JSON", "line 2"),
    case("JSON line is a list", lambda h: exam(h.write("bad.jsonl", '{"text": "a", "label": "b"}\n["a", "b"]\n')), "not a JSON object", "bad.jsonl:2"),
    case("JSON key twice", lambda h: exam(h.write("bad.jsonl", '{"text": "a", "text": "b", "label": "c"}\n')), "a key stands twice", "line 1"),
    case("JSON nested too deep", lambda h: exam(h.write("bad.jsonl", "[" * 100_000 + "\n")), "not valid JSON", "line 1"),
    case("JSON array of numbers", lambda h: exam(h.write("bad.json", "[1, 2, 3]")), "not a JSON object", "item 1"),
    case("JSON of something else", lambda h: exam(h.write("bad.json", '{"text": {"a": 1}}')), "a document is not text", "is dict"),
    case("saved dataset without files", lambda h: exam(_saved(h, state__json="{}")), "saved dataset is damaged", "no list of data files"),
    case("saved dataset, broken state", lambda h: exam(_saved(h, state__json="{")), "saved dataset is damaged"),
    case("saved dataset, part missing", lambda h: exam(_saved(h, state__json='{"_data_files": [{"filename": "data.arrow"}]}')), "saved dataset is damaged", "data.arrow"),
    case("saved dataset, cut arrow", lambda h: exam(_saved(h, state__json='{"_data_files": [{"filename": "data.arrow"}]}', data__arrow="x" * 30)), "saved dataset is damaged"),
    case("saved dataset leads outside", lambda h: exam(_saved(h, state__json='{"_data_files": [{"filename": "../reviews.csv"}]}')), "outside the folder"),
    case("pipe that is no file", lambda h: exam(h.path / "reviews.csv" / "more.csv"), "no such file or folder"),
]  # fmt: skip


@table(CASES)
def test_unreadable_data_are_refused_with_the_place(home: Home, row: Case) -> None:
    check(home, row)


def test_two_split_files_with_other_columns_are_refused(home: Home) -> None:
    home.csv(rows(), name="a_train.csv")
    home.csv(rows(), header="sentence,label", name="a_test.csv")
    arguments = ["exam", "model", "--data", "a_train.csv", "--data", "a_test.csv", "--out", "out"]
    check(home, Case("columns differ", lambda h: arguments, ("other columns than the test split",)))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission_is_refused(home: Home) -> None:
    (home.path / "reviews.csv").chmod(0)
    check(home, Case("locked", lambda h: exam("reviews.csv"), ("cannot be read", "permission")))
