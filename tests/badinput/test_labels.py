# ruff: noqa: E501 - one row per case reads as a table
"""Labels that are no classes, and maps that do not fit them."""

from __future__ import annotations

from collections.abc import Iterable

from tests.badinput.refusal import Case, Home, case, check, exam, rows, table


def _labels(home: Home, values: Iterable[object]) -> str:
    """The good texts with these labels, as JSON values."""
    return home.jsonl({"text": text, "label": v} for (text, _), v in zip(rows(), values, strict=False))


def _one(value: object) -> list[object]:
    return [value, *(label for _, label in rows()[1:])]


def _typed(home: Home, values: Iterable[object], name: str = "bad.parquet") -> str:
    import pyarrow
    import pyarrow.parquet

    columns = {"text": [text for text, _ in rows()], "label": list(values)}
    pyarrow.parquet.write_table(pyarrow.table(columns), home.path / name)
    return name


CASES = [
    case("one class", lambda h: exam(h.csv(rows(bad="good"))), "all rows have the same label", "good (60 rows)"),
    case("null", lambda h: exam(_labels(h, _one(None))), "rows have no label", "bad.jsonl:1"),
    case("empty", lambda h: exam(h.csv([["a film", ""], *rows()])), "rows have no label", "bad.csv:2"),
    case("white space", lambda h: exam(h.csv([["a film", "  "], *rows()])), "rows have no label", "bad.csv:2"),
    case("the word nan", lambda h: exam(h.csv([["a film", "NaN"], *rows()])), "rows have no label"),
    case("a real NaN", lambda h: exam(_typed(h, [float("nan"), *(float(i % 2) for i in range(59))])), "rows have no label", "row 1"),
    case("key left out", lambda h: exam(h.jsonl([{"text": "a film"}, *({"text": t, "label": y} for t, y in rows())])), "rows have no label", "bad.jsonl:1"),
    case("fraction", lambda h: exam(h.csv([["a film", "3.5"], *rows()])), "a label is a fraction", "bad.csv:2", "turn ratings into classes"),
    case("fractions everywhere", lambda h: exam(_typed(h, [i / 7 for i in range(60)])), "a label is a fraction"),
    case("a list", lambda h: exam(_labels(h, _one(["good", "bad"])) , "--label", "label"), "a fraction or a structure", "['good', 'bad']"),
    case("a mapping", lambda h: exam(_labels(h, _one({"a": 1})), "--label", "label"), "a fraction or a structure"),
    case("an id per row", lambda h: exam(h.csv([[text, f"id{i}"] for i, (text, _) in enumerate(rows())])), "look like ids or free text", "60 different labels in 60 rows"),
    case("too many classes", lambda h: exam(h.csv([[f"film {i}", f"c{i // 2}"] for i in range(2400)])), "look like ids or free text", "1200 different labels"),
    case("map that maps nothing", lambda h: exam("reviews.csv", "--label-map", "0=no", "--label-map", "1=yes"), "no entry for a label", "bad", "add bad=CLASS"),
    case("map with one entry missing", lambda h: exam("reviews.csv", "--label-map", "good=yes"), "no entry for a label", "bad"),
    case("map with commas", lambda h: exam("reviews.csv", "--label-map", "good=yes,bad=no"), "no entry for a label", "good (to yes,bad=no)", "a --label-map for each label"),
    case("map misspelt", lambda h: exam("reviews.csv", "--label-map", "goood=yes", "--label-map", "bad=no"), "did you mean goood?"),
    case("map onto one class", lambda h: exam("reviews.csv", "--label-map", "good=film", "--label-map", "bad=film"), "all rows have the same label", "film"),
    case("map without equals", lambda h: exam("reviews.csv", "--label-map", "good"), "a label mapping is FROM=TO", "got: good"),
    case("map without a class", lambda h: exam("reviews.csv", "--label-map", "good="), "a label mapping is FROM=TO"),
    case("map twice", lambda h: exam("reviews.csv", "--label-map", "good=a", "--label-map", "good=b", "--label-map", "bad=c"), "one label is mapped twice", "good=a and good=b"),
]  # fmt: skip


@table(CASES)
def test_labels_that_are_no_classes_are_refused(home: Home, row: Case) -> None:
    check(home, row)
