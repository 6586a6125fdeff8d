"""Help, version, and what the commands are called."""

from __future__ import annotations

import re

import pytest

from tests.command import run, run_process

COMMANDS = (
    "exam", "ask", "questions", "check", "compare", "predict", "verify", "apply", "samples", "doctor",
)  # fmt: skip


def test_help_lists_every_command_with_a_whole_sentence() -> None:
    told = run("--help")
    assert told.code == 0 and told.err == ""
    listed = dict(re.findall(r"^  (\w+) +(\S.*)$", told.out.split("Commands:")[1], flags=re.MULTILINE))
    assert set(COMMANDS) <= set(listed)
    assert all(listed[name].endswith(".") and not listed[name].endswith("...") for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_each_of_its_options(command: str) -> None:
    told = run(command, "--help")
    assert told.code == 0 and told.err == ""
    assert told.out.startswith(f"Usage: tiku {command}")
    assert "--json" in told.out
    options = told.out.split("Options:")[1]
    for entry in re.split(r"\n  (?=-)", options)[1:]:
        words = entry.split()
        assert len(words) >= 4, f"an option without help: {entry}"


def test_short_flag_gives_the_same_help() -> None:
    assert run("exam", "-h").out == run("exam", "--help").out


def test_exit_codes_stand_in_the_help() -> None:
    assert "2 usage or bad input" in run("--help").out


def test_version_is_the_one_of_the_package() -> None:
    from tiku import __version__

    assert run("--version").out == f"{__version__}\n"


def test_module_can_be_run() -> None:
    import subprocess
    import sys

    from tests.command import environment

    done = subprocess.run(
        [sys.executable, "-m", "tiku", "--version"], env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout == run("--version").out


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("exma", "exam"), ("question", "questions"), ("comapre", "compare"), ("EXAM", "exam")],
)
def test_mistyped_command_is_guessed(typed: str, meant: str) -> None:
    told = run(typed)
    assert told.code == 2 and f"did you mean {meant}" in told.err


def test_mistyped_flag_is_guessed() -> None:
    told = run_process("exam", "model", "--minimise", "energy")
    assert told.code == 2 and "did you mean --minimize" in told.err and told.out == ""
