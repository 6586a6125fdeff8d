# ruff: noqa: E501 - one row per case reads as a table
"""Texts that no model should be given, and those that only look bad."""

from __future__ import annotations

from tests.badinput.refusal import Case, Home, case, check, exam, rows, table


def _one(home: Home, text: str) -> str:
    """The good rows with one bad text on line 3, as JSON Lines."""
    good = [{"text": t, "label": y} for t, y in rows()]
    return home.jsonl([*good[:2], {"text": text, "label": "good"}, *good[2:]])


CASES = [
    case("empty", lambda h: exam(_one(h, "")), "a text is empty", "bad.jsonl:3"),
    case("white space", lambda h: exam(_one(h, " \t\n ")), "a text is empty", "bad.jsonl:3"),
    case("full-width spaces", lambda h: exam(_one(h, "\u3000\u3000")), "a text is empty", "bad.jsonl:3"),
    case("null", lambda h: exam(h.jsonl([{"text": None, "label": "good"}, *({"text": t, "label": y} for t, y in rows())]), "--text", "text"), "a text is not text", "bad.jsonl:1 is NoneType"),
    case("number", lambda h: exam(h.jsonl([{"text": 5, "label": "good"}, *({"text": t, "label": y} for t, y in rows())]), "--text", "text"), "a text is not text", "is int"),
    case("NUL", lambda h: exam(_one(h, "a\0film")), "control characters", "bad.jsonl:3: U+0000 at character 2", "tr -d"),
    case("bell", lambda h: exam(_one(h, "ring\x07")), "control characters", "U+0007"),
    case("escape code", lambda h: exam(_one(h, "\x1b[31mred")), "control characters", "U+001B"),
    case("lone surrogate", lambda h: exam(h.write("bad.jsonl", '{"text": "a \\ud83d film", "label": "good"}\n' + "".join(f'{{"text": "{t}", "label": "{y}"}}\n' for t, y in rows()))), "control characters", "U+D83D"),
    case("invalid UTF-8", lambda h: exam(h.write("bad.csv", b"text,label\nfine,good\na \xff film,bad\n")), "not valid UTF-8", "line 3, byte 3", "0xff"),
    case("cut UTF-8", lambda h: exam(h.write("bad.csv", "text,label\n很".encode()[:-1])), "not valid UTF-8", "line 2"),
    case("one megabyte to classify", lambda h: exam(_one(h, "film " * 200_000)), "too long for one example", "bad.jsonl:3: 1,000,000 characters", "up to 200,000"),
    case("texts that all repeat", lambda h: exam(h.csv([["the same film", "good"]] * 30 + [["another film", "bad"]] * 30)), "too few examples", "2 without duplicates"),
    case("texts that contradict", lambda h: exam(h.csv([[f"film {i % 30}", "ab"[i // 30]] for i in range(60)])), "too few examples", "0 without duplicates"),
    case("prose too short", lambda h: exam(h.write("bad.txt", "A short text."), model="decoder"), "too little text", "2,000"),
    case("empty document", lambda h: exam(h.write("bad.txt", "  \n"), model="decoder"), "the file is empty"),
    case("document with NUL", lambda h: exam(h.write("bad.txt", b"a\0" * 4000), model="decoder"), "NUL bytes"),
]  # fmt: skip


@table(CASES)
def test_texts_that_no_model_should_see_are_refused_with_their_row(home: Home, row: Case) -> None:
    check(home, row)
