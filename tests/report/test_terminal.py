from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from tiku.report import terminal
from tiku.report.terminal import print_answer, print_summary

from .builder import build_result


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("language", "decision"), [("en", "SHIP"), ("zh", "可以发布")])
def test_the_summary_has_the_decision_ten_lines_and_the_files(
    capsys: pytest.CaptureFixture[str], language: str, decision: str
) -> None:
    print_summary(build_result(), language=language, folder=Path("out/exam"))  # type: ignore[arg-type]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(decision)
    numbered = [line.split()[0] for line in lines if line[:2].strip().isdigit()]
    assert numbered == [str(n) for n in range(1, 11)]
    assert "out/exam/report.html" in lines[-1] and "out/exam/artefact/" in lines[-1]


def test_a_pipe_gets_plain_text_without_trailing_colour(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(build_result())
    out = capsys.readouterr().out
    assert "\x1b" not in out and "20.1\u202fms (18.5 – 21.7\u202fms)" in out


def test_a_terminal_gets_colours_unless_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, coloured in ((None, True), ("1", False)):
        screen = Screen()
        monkeypatch.setattr("sys.stdout", screen)
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.delenv("NO_COLOR", raising=False)
        if variable:
            monkeypatch.setenv("NO_COLOR", variable)
        print_summary(build_result())
        assert ("\x1b[1;32m" in screen.getvalue()) is coloured


def test_markup_in_names_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    result = build_result()
    print_summary(replace(result, model={**result.model, "name": "[bold]x[/bold] :smile:"}))
    assert "[bold]x[/bold] :smile:" in capsys.readouterr().out


def test_an_answer_shows_its_evidence_and_why_a_recipe_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    print_answer(build_result(), "inference")
    out = capsys.readouterr().out
    assert "×0.500" in out and "#9 torch-compile: not supported: no C++ compiler" in out
    assert "tiku apply" in out


def test_without_a_chosen_recipe_the_summary_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(replace(build_result(), chosen=None, confirmation=None, decision="do not ship"))
    assert "no recipe was chosen" in capsys.readouterr().out


def test_every_verdict_has_a_style() -> None:
    from tiku.report import words

    for name in (*words.DECISION_WORDS, *words.ANSWER_WORDS, *words.CHANGE_WORDS):
        assert name in terminal.STYLES
