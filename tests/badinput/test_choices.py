# ruff: noqa: E501 - one row per case reads as a table
"""Multiple-choice questions that cannot be asked."""

from __future__ import annotations

from tests.badinput.refusal import Case, Home, case, check, exam, table


def _questions(home: Home, count: int = 40, **first: object) -> str:
    """Good questions, the first of them changed; a value of None leaves the key out."""
    good = [
        {"question": f"Which film is number {i}?", "choices": [f"film {i}", f"plot {i}"], "answer": i % 2}
        for i in range(count)
    ]
    changed = {key: value for key, value in {**good[0], **first}.items() if value is not None}
    return home.jsonl([changed, *good[1:]])


def _asked(home: Home, **first: object) -> list[object]:
    return exam(_questions(home, **first), model="decoder")


CASES = [
    case("no options", lambda h: _asked(h, choices=[]), "fewer than two options", "bad.jsonl:1"),
    case("one option", lambda h: _asked(h, choices=["film"]), "fewer than two options", "['film']"),
    case("options left out", lambda h: _asked(h, choices=None), "the options are not a list", "bad.jsonl:1"),
    case("options are a text", lambda h: _asked(h, choices="film, plot"), "the options are not a list"),
    case("option is empty", lambda h: _asked(h, choices=["film", " "]), "an option is empty"),
    case("option is a number", lambda h: _asked(h, choices=["film", 3]), "an option is not text"),
    case("answer too large", lambda h: _asked(h, answer=2), "none of the options", "bad.jsonl:1: 2", "0 … 1"),
    case("answer negative", lambda h: _asked(h, answer=-1), "none of the options", "bad.jsonl:1: -1"),
    case("answer is a letter too far", lambda h: _asked(h, answer="C"), "none of the options", "A, B"),
    case("answer is no option", lambda h: _asked(h, answer="music"), "none of the options", "film 0"),
    case("answer left out", lambda h: _asked(h, answer=None), "the answer is missing", "bad.jsonl:1"),
    case("answer is true", lambda h: _asked(h, answer=True), "not an index, a letter or an option"),
    case("answer is two", lambda h: _asked(h, answer=[0, 1]), "not an index, a letter or an option"),
    case("right option twice", lambda h: _asked(h, choices=["film", "film"]), "stands among the options twice"),
    case("question empty", lambda h: _asked(h, question=" "), "a question is empty", "bad.jsonl:1"),
    case("question left out", lambda h: _asked(h, question=None), "a question is not text"),
    case("no answer column", lambda h: exam(h.jsonl([{"question": f"Q{i}?", "choices": ["a", "b"]} for i in range(40)]), model="decoder"), "a column of the multiple-choice questions is missing", "answer"),
    case("lettered question without letters", lambda h: exam(h.jsonl([{"input": [{"role": "user", "content": f"Which {i}?"}], "ideal": "A"} for i in range(40)]), model="decoder"), "no option lines A, B"),
    case("chat without messages", lambda h: exam(h.jsonl([{"input": [], "ideal": "A"}] * 40), model="decoder"), "not a list of messages"),
    case("too few questions", lambda h: exam(_questions(h, count=6), model="decoder"), "too few", "6"),
    case("an encoder is asked", lambda h: exam(_questions(h)), "an encoder", "--label COLUMN"),
    case("prose as classification", lambda h: exam(h.write("bad.txt", "A text. " * 400), "--task", "text-classification"), "cannot serve the task", "bad: prose"),
]  # fmt: skip


@table(CASES)
def test_questions_that_cannot_be_asked_are_refused_with_their_row(home: Home, row: Case) -> None:
    check(home, row)
