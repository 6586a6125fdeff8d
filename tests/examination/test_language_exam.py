"""The exam of a tiny language model on running text and questions, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.exams import Lab, read_result
from tests.measure.instruments.bench import questions
from tests.measure.language.models import llama
from tests.measure.language.words import byte_level, prose


def _write_model(folder: Path) -> Path:
    tokenizer = byte_level()
    tokenizer.model_max_length = 256
    llama(vocab=len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _write_choices(folder: Path) -> Path:
    asked = questions(120)
    choices = [
        {"question": c.removeprefix("Question: ").removesuffix("\nAnswer:"), "choices": list(o), "answer": a}
        for c, o, a in zip(asked.contexts, asked.options, asked.answers, strict=True)
    ]
    return _write_rows(folder / "questions.jsonl", choices)


def _lab(folder: Path, data: Path) -> Lab:
    instruments = ("size", "perplexity", "multiple-choice")
    return Lab(_write_model(folder / "model"), data, ("thread-tuning",), instruments)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, out = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("finished")
    text = prose(80, 60)
    documents = [{"title": t, "text": d} for t, d in zip(text.titles, text.documents, strict=True)]
    lab = _lab(folder, _write_rows(folder / "documents.jsonl", documents))
    more = _write_choices(folder)
    done = lab.run(out, "--data", str(more), "--minimize", "size")
    assert done.returncode == 0, done.stderr
    return out


def test_evaluation_answers_with_tokens_and_questions_and_their_intervals(finished: Path) -> None:
    result = read_result(finished)
    answer = result["questions"]["evaluation"]
    assert answer["key_metric"] == "perplexity" and answer["verdict"] == "pass"
    for part in ("held-out tokens of text", "held-out questions", "perplexity", "Bits per byte", "["):
        assert part.lower() in answer["answer"]["en"].lower()
    base = next(t for t in result["trials"] if t["id"] == result["base"])
    assert {"perplexity", "bits_per_byte", "choice_accuracy", "choice_accuracy_norm"} <= set(base["metrics"])
    assert base["metrics"]["perplexity"]["low"] < base["metrics"]["perplexity"]["high"]


def test_the_default_requirement_is_decided_on_the_test_split(finished: Path) -> None:
    (outcome,) = read_result(finished)["requirements"]
    assert outcome["expr"] == "perplexity <= 1.02 * base"
    assert outcome["on"] == "test" and outcome["met"] is True


def test_a_recipe_that_leaves_the_weights_alone_is_equivalent_to_the_base(finished: Path) -> None:
    result = read_result(finished)
    (candidate,) = (t for t in result["trials"] if t["id"] != result["base"])
    assert candidate["status"] == "done"
    assert candidate["against_base"]["perplexity"]["verdict"] == "equivalent"
    assert candidate["metrics"]["choice_flip_rate"]["value"] == 0


def test_the_report_shows_protocol_documents_and_worst_questions(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    titles = (
        "What context is worth", "How the text was scored", "Documents, the hardest first",
        "Hardest passages", "How the questions were asked", "Worst examples",
    )  # fmt: skip
    assert [title for title in titles if title not in page] == []
    assert "are not laid out" not in page


def test_questions_without_prose_are_their_own_text_and_that_is_said(tmp_path: Path) -> None:
    lab = _lab(tmp_path, _write_choices(tmp_path))
    done = lab.run(tmp_path / "out", "--minimize", "size")
    assert done.returncode == 0, done.stderr
    result = read_result(tmp_path / "out")
    assert [outcome["met"] for outcome in result["requirements"]] == [True]
    base = next(t for t in result["trials"] if t["id"] == result["base"])
    assert {"perplexity", "choice_accuracy"} <= set(base["metrics"])
    assert "the perplexity is that of the questions" in " ".join(w["en"] for w in base["warnings"])
