"""English and Chinese: by flag, else by the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import run, run_process

_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No language in the environment."""
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def _is_chinese(text: str) -> bool:
    return any("\u4e00" <= c <= "\u9fff" for c in text)


def test_english_where_nothing_is_said(bare: pytest.MonkeyPatch) -> None:
    assert not _is_chinese(run("questions").out)


@pytest.mark.parametrize("value", ["zh_CN.UTF-8", "zh_TW", "zh", "ZH_cn"])
def test_language_of_the_environment_is_the_default(bare: pytest.MonkeyPatch, value: str) -> None:
    bare.setenv("LANG", value)
    assert _is_chinese(run("questions").out)


@pytest.mark.parametrize(
    ("environment", "chinese"),
    [
        ({"LANG": "zh_CN", "LC_ALL": "en_US.UTF-8"}, False),
        ({"LANG": "en_US", "LC_ALL": "zh_CN.UTF-8"}, True),
        ({"LANG": "zh_CN", "LC_ALL": ""}, True),  # empty means unset
        ({"LANG": "en_US", "LC_MESSAGES": "zh_CN"}, True),
        ({"LANG": "zh_CN", "LC_MESSAGES": "C"}, False),
        ({"LANG": "de_DE"}, False),
    ],
)
def test_variables_rank_as_posix_says(
    bare: pytest.MonkeyPatch, environment: dict[str, str], chinese: bool
) -> None:
    for name, value in environment.items():
        bare.setenv(name, value)
    assert _is_chinese(run("questions").out) == chinese


def test_flag_is_above_the_environment(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("LANG", "zh_CN.UTF-8")
    assert not _is_chinese(run("questions", "--lang", "en").out)
    bare.setenv("LANG", "en_US.UTF-8")
    assert _is_chinese(run("questions", "--lang", "zh").out)


@pytest.mark.parametrize(
    "arguments",
    [["questions", "5"], ["samples"], ["check", "result.json"], ["compare", "result.json", "result.json"]],
)
def test_commands_speak_chinese(there: Path, arguments: list[str]) -> None:
    chinese, english = run(*arguments, "--lang", "zh"), run(*arguments, "--lang", "en")
    assert chinese.code == english.code == 0
    assert _is_chinese(chinese.out)
    assert chinese.out != english.out


def test_question_five_in_chinese_has_its_sections(there: Path) -> None:
    told = run("questions", "5", "--lang", "zh")
    assert told.code == 0 and told.out.startswith("# 5. ") and told.out.count("\n## ") == 6


def test_what_was_guessed_about_the_data_is_said_in_the_language(there: Path, tmp_path: Path) -> None:
    told = run("predict", "artefact", "reviews.csv", "--lang", "zh")
    assert told.code == 0 and "将“text”列作为文本" in told.err


def test_output_that_is_not_unicode_stays_whole() -> None:
    """Where the terminal cannot show Chinese, it is escaped; JSON stays JSON."""
    plain = run_process("questions", "--lang", "zh", PYTHONIOENCODING="ascii")
    assert plain.code == 0 and plain.out.isascii() and "\\u" in plain.out
    as_json = run_process("questions", "5", "--lang", "zh", "--json", PYTHONIOENCODING="ascii")
    assert as_json.out.isascii() and _is_chinese(as_json.json()["title"])
