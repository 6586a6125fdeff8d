# ruff: noqa: E501 - one row per case reads as a table
"""Flags, commands and folders that cannot be meant."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.badinput.refusal import Case, Home, case, check, exam, table
from tests.command import run


def _exam(*flags: object) -> list[object]:
    return exam("reviews.csv", *flags)


def _out(home: Home, name: str, content: str = "mine") -> list[object]:
    """The exam's folder holds a file of this name that no exam wrote."""
    home.write(f"busy/{name}", content)
    return ["exam", "model", "--data", "reviews.csv", "--out", "busy"]


CASES = [
    case("mistyped command", lambda h: ["exma", "model"], "no such command", "got: exma", "did you mean exam?"),
    case("unknown command", lambda h: ["train", "model"], "no such command", "tiku --help"),
    case("mistyped flag", lambda h: ["exam", "model", "--dta", "reviews.csv"], "no such option", "got: --dta", "did you mean --data"),
    case("unknown short flag", lambda h: _exam("-z"), "no such option", "got: -z"),
    case("flag of another command", lambda h: ["check", "result.json", "--budget", "quick"], "tiku check has no such option", "--gate"),
    case("flag before the command", lambda h: ["--budget", "quick", "exam", "model"], "tiku has no such option"),
    case("no model", lambda h: ["exam"], "tiku exam needs MODEL", "sample:NAME"),
    case("no data", lambda h: ["exam", "model"], "tiku exam needs --data"),
    case("flag without its value", lambda h: ["exam", "model", "--data"], "requires an argument", "exam --help"),
    case("one argument too many", lambda h: _exam("more"), "unexpected extra argument", "more"),
    case("negative threads", lambda h: _exam("--threads", "-1"), "--threads cannot take this value", "got: -1"),
    case("no threads", lambda h: _exam("--threads=0"), "--threads cannot take this value", "got: 0"),
    case("a word of threads", lambda h: _exam("--threads", "two"), "--threads cannot take this value", "got: two"),
    case("half a thread", lambda h: _exam("--threads", "1.5"), "--threads cannot take this value", "got: 1.5"),
    case("a million threads", lambda h: _exam("--threads", "1000000"), "--threads cannot take this value"),
    case("negative seed", lambda h: _exam("--seed", "-1"), "seed is out of range", "0 … 2,147,483,647"),
    case("seed too large", lambda h: _exam("--seed", str(2**31)), "seed is out of range"),
    case("seed is a word", lambda h: _exam("--seed", "lucky"), "--seed cannot take this value", "got: lucky"),
    case("negative minutes", lambda h: _exam("--minutes", "-5"), "minutes is out of range", "got: -5"),
    case("no minutes", lambda h: _exam("--minutes", "0"), "minutes is out of range"),
    case("minutes are nan", lambda h: _exam("--minutes", "nan"), "minutes is out of range", "got: nan"),
    case("minutes are infinite", lambda h: _exam("--minutes", "inf"), "minutes is out of range"),
    case("unknown budget", lambda h: _exam("--budget", "quickly"), "no budget of this name", "did you mean quick?"),
    case("unknown device", lambda h: _exam("--device", "tpu"), "no device of this name", "auto, cpu, cuda"),
    case("unknown task", lambda h: _exam("--task", "text-clasification"), "no task of this name", "did you mean text-classification"),
    case("unknown language", lambda h: _exam("--lang", "fr"), "no such language", "en, zh"),
    case("unknown question", lambda h: ["ask", "infrence", "model", "--data", "reviews.csv"], "no question of this name", "did you mean inference?"),
    case("question eleven", lambda h: ["ask", "11", "model", "--data", "reviews.csv"], "no question of this name or number", "inference (5)"),
    case("question zero", lambda h: ["questions", "0"], "no question of this name or number"),
    case("question and language unknown", lambda h: ["questions", "5", "--lang", "xx"], "no such language"),
    case("out is a file", lambda h: ["exam", "model", "--data", "reviews.csv", "--out", "reviews.csv"], "a file stands where the folder should be", "--out"),
    case("out is below a file", lambda h: ["exam", "model", "--data", "reviews.csv", "--out", "reviews.csv/deep/out"], "a file stands where the folder should be"),
    case("out is a device", lambda h: ["exam", "model", "--data", "reviews.csv", "--out", "/dev/null"], "a file stands where the folder should be"),
    case("out is a dangling link", lambda h: os.symlink("nowhere", "link") or ["exam", "model", "--data", "reviews.csv", "--out", "link"], "a file stands where the folder should be"),
    case("out holds another result", lambda h: _out(h, "result.json"), "not an exam's; nothing was written over", "result.json"),
    case("out holds another report", lambda h: _out(h, "report.html"), "not an exam's", "report.html"),
    case("out holds a folder named artefact", lambda h: _out(h, "artefact/thesis.txt"), "not an exam's", "artefact"),
    case("data given twice", lambda h: [*exam("reviews.csv"), "--data", "reviews.csv"], "the same data is given twice", "got: reviews.csv"),
    case("data given for two tasks", lambda h: [*exam("reviews.csv"), "--data", h.write("p.txt", "A warm film. " * 300)], "serve different tasks", "one by one"),
    case("byte that is no text", lambda h: ["exam", os.fsdecode(b"mod\xff"), "--data", "reviews.csv"], "no model at this path", "mod\\udcff"),
    case("command that is no text", lambda h: [os.fsdecode(b"\xff")], "no such command"),
    case("escape codes in a flag", lambda h: ["exam", "model", "--\x1b[31mdata"], "no such option"),
    case("tokens below one", lambda h: ["predict", "artefact", "a film", "--max-tokens", "0"], "--max-tokens cannot take this value", "got: 0"),
]  # fmt: skip


@table(CASES)
def test_flags_that_cannot_be_meant_are_refused(home: Home, row: Case) -> None:
    check(home, row)


def test_bare_command_shows_the_help_and_fails() -> None:
    told = run()
    assert told.code == 2 and told.out == ""
    assert "Usage: tiku" in told.err and "exam" in told.err and "error:" not in told.err


def test_no_message_carries_an_escape_code(home: Home) -> None:
    told = run("exam", "\x1b[31mmodel", "--data", "\x1b[2J.csv", "--\x1b[31mdata")
    assert told.code == 2 and "\x1b" not in told.err


def test_device_that_is_not_here_is_refused_before_the_data_are_read(home: Home) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has the device")
    says = ("there is no such device here", "auto, cpu")
    check(home, Case("cuda", lambda h: exam("no-such-data.csv", "--device", "cuda"), says))


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that nobody can write")
def test_folder_that_cannot_be_written_leaves_nothing_behind(home: Home) -> None:
    told = run("exam", "model", "--data", "reviews.csv", "--out", "/proc/self/out", "-q")
    assert told.code == 3 and "Traceback" not in told.err and told.out == ""
    assert "error: could not write" in told.err or "error: the folder cannot be written" in told.err
    assert "--out" in told.err
