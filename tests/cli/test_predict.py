"""`tiku predict ARTEFACT INPUT`: a text, a file of lines, a table, standard input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.command import run

TEXTS = ["a warm film", "the plot was dull", "great cast"]


def _predictions(*arguments: object, stdin: bytes = b"") -> list[dict[str, Any]]:
    told = run("predict", "artefact", *arguments, "--json", stdin=stdin)
    assert told.code == 0, told.err
    rows: list[dict[str, Any]] = told.json()["predictions"]
    return rows


def _write(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def test_every_way_of_giving_the_same_texts_gives_the_same_answers(there: Path, tmp_path: Path) -> None:
    wanted = [row for text in TEXTS for row in _predictions(text)]
    assert [row["input"] for row in wanted] == TEXTS
    lines = "".join(f"{text}\n" for text in TEXTS)
    table = "text\n" + lines
    objects = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
    ways = [
        _predictions("-", stdin=lines.encode()),
        _predictions(_write(tmp_path, "in.txt", lines)),
        _predictions(_write(tmp_path, "in", lines)),
        _predictions(_write(tmp_path, "in.csv", table)),
        _predictions(_write(tmp_path, "in.jsonl", objects)),
        _predictions(_write(tmp_path, "other.csv", table.replace("text", "review")), "--text", "review"),
    ]
    for found in ways:
        assert [row["input"] for row in found] == TEXTS
        assert [row["label"] for row in found] == [row["label"] for row in wanted]
        for row, one in zip(found, wanted, strict=True):
            assert row["scores"] == pytest.approx(one["scores"], abs=1e-4)


def test_scores_are_shares_and_the_label_has_the_largest(there: Path) -> None:
    for row in _predictions("-", stdin="\n".join(TEXTS).encode()):
        assert sum(row["scores"].values()) == pytest.approx(1.0)
        assert row["scores"][row["label"]] == max(row["scores"].values())


def test_text_line_holds_label_score_and_input(there: Path) -> None:
    label, score, text = run("predict", "artefact", "a warm film").out.rstrip("\n").split("\t")
    row = _predictions("a warm film")[0]
    assert (label, text) == (row["label"], "a warm film")
    assert float(score) == pytest.approx(row["scores"][label], abs=1e-4)


@pytest.mark.parametrize("text", ["great", "很好看", "a/b and c", "what a film.txt file", "3.5"])
def test_text_that_is_no_path_is_a_text(there: Path, text: str) -> None:
    assert [row["input"] for row in _predictions(text)] == [text]


@pytest.mark.parametrize("text", ["film.csv", "data/film", "./film", "film.TXT"])
def test_word_that_looks_like_a_path_is_never_taken_for_a_text(there: Path, text: str) -> None:
    told = run("predict", "artefact", text)
    assert told.code == 2 and "no such file or folder" in told.err and told.out == ""


def test_file_named_like_a_text_is_read(there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _write(tmp_path, "great", "a warm film\n")
    told = run("predict", there / "artefact", "great", "--json")
    assert [row["input"] for row in told.json()["predictions"]] == ["a warm film"]


def test_language_model_continues_the_text(there: Path, tmp_path: Path) -> None:
    prose = _write(
        tmp_path, "prose.txt", "\n\n".join(f"the film was warm and moving {i}" for i in range(200))
    )
    built = tmp_path / "built"
    assert run("apply", "base.yaml", "decoder", "--data", prose, "--out", built, "-q").code == 0
    told = run("predict", built, "the film was", "--max-tokens", "4", "--json")
    assert told.code == 0, told.err
    (row,) = told.json()["predictions"]
    assert row["input"] == "the film was" and len(row["text"].split()) <= 4
    again = run("predict", built, "the film was", "--max-tokens", "4")
    assert again.out == row["text"] + "\n"
