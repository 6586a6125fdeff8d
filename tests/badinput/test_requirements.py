# ruff: noqa: E501 - one row per case reads as a table
"""Requirements and objectives that cannot be meant. They are refused before data or model are read."""

from __future__ import annotations

from tests.badinput.refusal import Case, Home, case, check, table


def _asked(*flags: str) -> list[object]:
    """The exam is to refuse before it looks for data that are not there."""
    return ["exam", "no-such-model", "--data", "no-such-data.csv", "--out", "out", *flags]


def _require(text: str) -> list[object]:
    return _asked("--require", text)


CASES = [
    case("empty", lambda h: _require(""), "not a requirement", "METRIC OP VALUE"),
    case("metric alone", lambda h: _require("accuracy"), "not a requirement", "got: accuracy"),
    case("no value", lambda h: _require("accuracy >="), "not a requirement"),
    case("no metric", lambda h: _require(">= 0.9"), "not a requirement"),
    case("equality", lambda h: _require("accuracy == 0.9"), "equality cannot be required", ">=, <=, >, <"),
    case("assignment", lambda h: _require("accuracy = 0.9"), "equality cannot be required"),
    case("unequal", lambda h: _require("accuracy != 0.9"), "equality cannot be required"),
    case("operator backwards", lambda h: _require("accuracy => 0.9"), ">=, <=, >, <"),
    case("operator doubled", lambda h: _require("accuracy >== 0.9"), "not a requirement"),
    case("words", lambda h: _require("accuracy at least 0.9"), "not a requirement"),
    case("unknown metric", lambda h: _require("beauty >= 0.9"), "no metric of this name", "accuracy", "tiku questions"),
    case("misspelt metric", lambda h: _require("acuracy >= 0.9"), "did you mean accuracy"),
    case("metric in capitals", lambda h: _require("ACCURACY >= 0.9"), "did you mean accuracy"),
    case("value is a word", lambda h: _require("accuracy >= high"), "not a number with a unit", "0.9, 20 ms"),
    case("value is nan", lambda h: _require("accuracy >= nan"), "not a number with a unit"),
    case("value is infinite", lambda h: _require("accuracy >= 1e999"), "not a number with a unit"),
    case("two numbers", lambda h: _require("p95_latency <= 20 30"), "unknown unit", "got: 30"),
    case("decimal comma", lambda h: _require("accuracy >= 0,9"), "unknown unit", "got: ,9"),
    case("unknown unit", lambda h: _require("p95_latency <= 20 parsec"), "unknown unit", "ms"),
    case("misspelt unit", lambda h: _require("p95_latency <= 20 mss"), "did you mean ms"),
    case("unit of another kind", lambda h: _require("p95_latency <= 200 MB"), "measured in s", "same kind"),
    case("unit left out", lambda h: _require("p95_latency <= 20"), "measured in s", "write the unit after it"),
    case("unit where none is", lambda h: _require("accuracy >= 90 ms"), "measured in plain numbers"),
    case("power of base", lambda h: _require("accuracy >= base ** 2"), "base is not understood", "0.98 * base"),
    case("sum of bases", lambda h: _require("accuracy >= base + base"), "not a number with a unit", "got: base"),
    case("base divided", lambda h: _require("accuracy >= base / 2"), "base is not understood"),
    case("base of another metric", lambda h: _require("accuracy >= base.f1_macro"), "base is not understood"),
    case("negative factor", lambda h: _require("accuracy >= -1 * base"), "factor before base must be positive"),
    case("zero times base", lambda h: _require("accuracy >= 0 * base"), "factor before base must be positive"),
    case("base minus a word", lambda h: _require("accuracy >= base - little"), "not a number with a unit"),
    case("base minus megabytes", lambda h: _require("accuracy >= base - 2 MB"), "measured in plain numbers"),
    case("code", lambda h: _require("__import__('os').system('true') >= 1"), "not a requirement"),
    case("second of two is wrong", lambda h: _asked("-r", "accuracy >= 0.9", "-r", "sise < 3 MB"), "no metric of this name", "got: sise"),
    case("two objectives", lambda h: _asked("--minimize", "energy_per_1000", "--maximize", "throughput"), "only one objective", "turn one of them into a --require"),
    case("objective backwards", lambda h: _asked("--minimize", "accuracy"), "of accuracy, more is better", "--maximize accuracy"),
    case("objective backwards, other way", lambda h: _asked("--maximize", "p95_latency"), "of p95_latency, less is better", "--minimize p95_latency"),
    case("unknown objective", lambda h: _asked("--minimize", "latency_p95"), "no metric of this name", "got: latency_p95"),
    case("objective is a requirement", lambda h: _asked("--minimize", "p95_latency <= 20 ms"), "no metric of this name"),
    case("asked of one question", lambda h: ["ask", "inference", "m", "--data", "d.csv", "-r", "acuracy > 1"], "did you mean accuracy"),
    case("of another task", lambda h: ["exam", "model", "--data", "reviews.csv", "--out", "out", "-r", "tokens_per_second >= 5 /s"], "no meaning for text-classification", "accuracy"),
]  # fmt: skip


@table(CASES)
def test_requirements_that_cannot_be_meant_are_refused(home: Home, row: Case) -> None:
    check(home, row)
