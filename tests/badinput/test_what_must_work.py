"""Input that looks bad and is not: it works, and what was made of it is said."""

from __future__ import annotations

import json

import pytest

from tests.badinput.refusal import Home, rows
from tests.command import Outcome, run


def _apply(data: str, *flags: str) -> Outcome:
    """Loads model and data as an exam does, and writes an artefact instead of measuring."""
    told = run("apply", "base.yaml", "model", "--data", data, "--out", "built", *flags)
    assert told.code == 0, told.err
    return told


def _predict(home: Home, *args: str, stdin: bytes = b"") -> dict[str, object]:
    told = run("predict", "artefact", *args, "--json", stdin=stdin)
    assert told.code == 0, told.err
    found: dict[str, object] = told.json()
    return found


def _labels(home: Home) -> list[str]:
    value = json.loads((home.path / "built" / "artefact.json").read_text(encoding="utf-8"))
    return list(value["labels"])


def test_byte_order_mark_is_no_part_of_the_first_column(home: Home) -> None:
    name = home.write("bom.csv", (home.path / "reviews.csv").read_text(encoding="utf-8").encode("utf-8-sig"))
    assert 'column "text" is taken as the text' in _apply(name).err


def test_line_ends_of_another_system_change_nothing(home: Home) -> None:
    content = (home.path / "reviews.csv").read_bytes().replace(b"\r\n", b"\n")
    for name, end in (("unix.csv", b"\n"), ("dos.csv", b"\r\n"), ("mac.csv", b"\r")):
        home.write(name, content.replace(b"\n", end))
        _apply(name, "-q")
        assert _labels(home) == ["bad", "good"]


@pytest.mark.parametrize(("delimiter", "word"), [(";", "semicolon"), ("|", "bar"), ("\t", "tab")])
def test_other_delimiter_is_found_and_said(home: Home, delimiter: str, word: str) -> None:
    lines = ["text,label", *(",".join(row) for row in rows())]
    name = home.write("other.csv", "\n".join(lines).replace(",", delimiter))
    assert f"fields are separated by {word}" in _apply(name).err


def test_commas_in_a_file_named_tsv_are_found_and_said(home: Home) -> None:
    name = home.write("named.tsv", (home.path / "reviews.csv").read_bytes())
    assert "fields are separated by comma" in _apply(name).err


def test_tab_separated_texts_keep_their_commas_and_bare_quotes(home: Home) -> None:
    lines = ["text\tlabel", *(f'the "film", they say, {text}\t{label}' for text, label in rows())]
    told = _apply(home.write("quoted.tsv", "\n".join(lines) + "\n"))
    assert "separated by" not in told.err and "taken as the text" in told.err


def test_commas_and_line_breaks_inside_quotes_belong_to_the_text(home: Home) -> None:
    lines = ["text,label", *(f'"{text},\nand ""more""",{label}' for text, label in rows())]
    _apply(home.write("quoted.csv", "\n".join(lines) + "\n"), "-q")


def test_labels_that_differ_by_case_are_one_class_and_it_is_said(home: Home) -> None:
    mixed = [[text, label.upper() if i % 10 == 0 else label] for i, (text, label) in enumerate(rows())]
    assert "taken as one class: GOOD, good" in _apply(home.csv(mixed)).err
    assert _labels(home) == ["bad", "good"]


def test_whole_numbers_stored_as_fractions_are_classes(home: Home) -> None:
    _apply(home.csv([[text, "1.0" if label == "good" else "0.0"] for text, label in rows()]), "-q")
    assert _labels(home) == ["0", "1"]


def test_class_with_one_example_is_kept_and_warned_about(home: Home) -> None:
    told = _apply(home.csv([*rows(), ["a very odd film", "odd"]]))
    assert "examples: odd (1)" in told.err and "the test part holds no example of: odd" in told.err
    assert _labels(home) == ["bad", "good", "odd"]


def test_label_map_renames_and_merges(home: Home) -> None:
    three = [*rows(), *(["plain film " + str(i), "fine"] for i in range(20))]
    flags = [word for pair in ("bad=no", "good=yes", "fine=yes") for word in ("--label-map", pair)]
    _apply(home.csv(three), *flags, "-q")
    assert _labels(home) == ["no", "yes"]


def test_empty_lines_between_rows_are_no_rows(home: Home) -> None:
    _apply(home.write("gaps.csv", "\n\ntext,label\n\n" + "\n\n".join(",".join(row) for row in rows())), "-q")


def test_tabs_line_breaks_emoji_and_other_scripts_are_text(home: Home) -> None:
    odd = [{"text": f"{text}\t很好\n🎬 é עברית", "label": label} for text, label in rows()]
    _apply(home.jsonl(odd), "-q")


def test_text_of_one_megabyte_is_predicted_and_the_cut_is_said(home: Home) -> None:
    name = home.write("long.txt", "film " * 200_000)
    told = run("predict", "artefact", name)
    assert told.code == 0 and len(told.out.splitlines()) == 1
    assert "1 of 1 inputs are longer than the model reads, and were cut" in told.err
    assert _predict(home, name)["truncated"] == 1


def test_control_characters_are_predicted_and_never_reach_the_terminal(home: Home) -> None:
    told = run("predict", "artefact", "-", stdin=b"a \x1b[31mred\x07 film\n")
    assert told.code == 0 and "\x1b" not in told.out and "\x07" not in told.out
    assert (
        _predict(home, "-", stdin=b"a \x1b[31mred film\n")["predictions"][0]["input"] == "a \x1b[31mred film"
    )  # type: ignore[index]


def test_document_of_a_megabyte_is_prose(home: Home) -> None:
    name = home.write(
        "book.txt", "\n\n".join(f"The film number {i} was warm and moving." for i in range(25_000))
    )
    told = run("apply", "base.yaml", "decoder", "--data", name, "--out", "built", "-q")
    assert told.code == 0, told.err


def test_name_with_spaces_and_other_scripts_is_a_name(home: Home) -> None:
    name = home.write("影评 (2 copies) #1.csv", (home.path / "reviews.csv").read_bytes())
    _apply(name, "-q")


def test_answer_of_a_line_stands_on_the_same_line(home: Home) -> None:
    told = run("predict", "artefact", "-", stdin="good\n\nbad\u2028 film\n".encode())
    assert told.code == 0 and len(told.out.splitlines()) == 3


def test_questions_alone_are_enough_for_a_decoder(home: Home) -> None:
    asked = [
        {"question": f"Which is {i}?", "choices": [f"a{i}", f"b{i}"], "answer": i % 2} for i in range(40)
    ]
    told = run("apply", "base.yaml", "decoder", "--data", home.jsonl(asked), "--out", "built", "-q")
    assert told.code == 0, told.err
