# ruff: noqa: E501 - one row per case reads as a table
"""Columns that are missing, misspelt, doubled, empty, or used for two things."""

from __future__ import annotations

import random

from tests.badinput.refusal import Case, Home, case, check, exam, rows, table


def _with(home: Home, header: str, *columns: object) -> str:
    """The good rows with further columns: each a value, or a function of the row number."""
    more = [[str(c(i)) if callable(c) else str(c) for c in columns] for i in range(60)]
    return home.csv([[*row, *extra] for row, extra in zip(rows(), more, strict=True)], header)


def _splits(i: int) -> str:
    return ("train", "train", "train", "validation", "test")[i % 5]


CASES = [
    case("text misspelt", lambda h: exam("reviews.csv", "--text", "txet"), "no column of this name", "text=txet", "did you mean text?"),
    case("label misspelt", lambda h: exam("reviews.csv", "--label", "lable"), "label=lable", "did you mean label?"),
    case("label missing", lambda h: exam("reviews.csv", "--label", "stars"), "label=stars", "text, label"),
    case("pair missing", lambda h: exam("reviews.csv", "--text-pair", "second"), "text_pair=second"),
    case("group missing", lambda h: exam("reviews.csv", "--group", "user"), "group=user"),
    case("slice missing", lambda h: exam("reviews.csv", "--slice", "genre"), "slices=genre"),
    case("split missing", lambda h: exam("reviews.csv", "--split", "fold"), "split=fold"),
    case("context missing", lambda h: exam("reviews.csv", "--context", "passage"), "context=passage"),
    case("options missing", lambda h: exam("reviews.csv", "--options", "choices"), "options=choices"),
    case("answer missing", lambda h: exam("reviews.csv", "--answer", "gold"), "answer=gold"),
    case("text is the label", lambda h: exam("reviews.csv", "--text", "label", "--label", "label"), "named for two things", "text=label"),
    case("text is the pair", lambda h: exam("reviews.csv", "--text", "text", "--text-pair", "text"), "named for two things"),
    case("text given as label", lambda h: exam("reviews.csv", "--label", "text"), "the labels look like ids or free text", "--label"),
    case("only the label", lambda h: exam(h.csv([[label] for _, label in rows()], header="label")), "no column of texts", "--text COLUMN"),
    case("no column of texts", lambda h: exam(h.csv([[str(i), str(i % 2)] for i in range(60)], header="id,label"), "--text", "text"), "text=text", "id, label"),
    case("numbers as text", lambda h: exam(h.jsonl([{"n": i, "label": "ab"[i % 2]} for i in range(60)])), "no column of texts", "--text COLUMN"),
    case("lists as text", lambda h: exam(h.jsonl([{"text": ["a"], "label": "ab"[i % 2]} for i in range(60)])), "a text is not text", "bad.jsonl:1 is list"),
    case("all empty", lambda h: exam(h.csv([["", label] for _, label in rows()])), "a text is empty", "bad.csv:2"),
    case("label all empty", lambda h: exam(h.csv([[text, ""] for text, _ in rows()])), "rows have no label", "and 55 more"),
    case("several could be the label", lambda h: exam(_with(h, "text,one,two", lambda i: i % 3)), "several columns could be the label", "--label one"),
    case("split of unknown names", lambda h: exam(_with(h, "text,label,fold", lambda i: i % 5), "--split", "fold"), "does not name splits", "fold: 0"),
    case("split without train", lambda h: exam(_with(h, "text,label,fold", "test"), "--split", "fold"), "does not name splits", "at least one train row"),
    case("one group only", lambda h: exam(_with(h, "text,label,user", "me"), "--group", "user"), "no examples are left", "groups"),
    case("case of the name", lambda h: exam("reviews.csv", "--text", "TEXT"), "text=TEXT", "did you mean text?"),
    case("label only outside train", lambda h: exam(h.csv([[*row, _splits(i)] for i, row in enumerate(rows())] + [["a new film", "mixed", "test"]], header="text,label,split")), "the test split has a label that train does not have", "bad.csv:62", "mixed"),
    case("too few rows", lambda h: exam(h.csv(rows(8))), "too few", "8"),
    case("rows that repeat", lambda h: exam(h.csv(rows(12) * 5)), "too few", "12"),
    case("a thousand columns", lambda h: exam(h.csv([["1"] * 1000], header=",".join(f"c{i}" for i in range(1000))), "--text", "text"), "text=text", "c0, c1", "…"),
    case("columns with terminal codes", lambda h: exam(h.csv(rows(), header="\x1b[31mtext,label"), "--text", "text"), "\\x1b[31mtext"),
]  # fmt: skip


@table(CASES)
def test_columns_that_do_not_fit_are_refused_with_the_names_there_are(home: Home, row: Case) -> None:
    check(home, row)


def test_message_never_carries_a_terminal_code(home: Home) -> None:
    name = home.csv(rows(), header="\x1b[31mtext,label", name="\x1b[2Jbad.csv")
    from tests.command import run

    told = run(*exam(name, "--text", "text"))
    assert told.code == 2 and "\x1b" not in told.err


def test_order_of_rows_does_not_change_the_refusal(home: Home) -> None:
    mixed = [*rows(), ["one film", "0.5"]]
    random.Random(0).shuffle(mixed)
    check(home, Case("shuffled", lambda h: exam(h.csv(mixed)), ("a label is a fraction",)))
